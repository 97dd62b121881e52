// An interrupt during a training step, a snapshot or an evaluation: the step is dropped, or the snapshot or evaluation
// is repeated on resuming, and the resumed run is bit-identical to an uninterrupted one.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { checkBetweenKernels } from '../../../src/device/interruption.ts';
import { readCheckpointHeader } from '../../../src/run/checkpoints/checkpoint.ts';
import { type Config, loadCheckpoint, type TrainResult, train } from '../../../src/run/index.ts';
import { holdsUnsaved } from '../../../src/run/workdir/unsaved.ts';
import { configWith } from '../../support/config.ts';
import { full, openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-interruption-'));
afterAll(() => rmSync(folder, { recursive: true }));

const values = {
  'model.nf': 8,
  'model.dropout': 0.1,
  'training.batch_size': 8,
  'training.n_iters': 11,
  'training.snapshot_freq': 6,
  'training.eval_freq': 4,
  'training.accumulation': 2,
  'sampling.use_ode_sampler': 'euler',
  'sampling.sample_N': 3,
};

/** Trains, and aborts before the kernel with index `kernel` after the end of step `step`. */
async function interrupted(config: Config, workdir: string, device: Device, step: number, kernel: number) {
  const controller = new AbortController();
  let armed = false;
  let left = kernel;
  let held = false;
  using _check = checkBetweenKernels(() => {
    if (!armed || left-- > 0) return;
    held = holdsUnsaved();
    controller.abort();
    throw controller.signal.reason;
  });
  const onStep = (info: { step: number }) => {
    if (info.step === step) armed = true;
  };
  const result = await train(config, { workdir, device, signal: controller.signal, onStep });
  return { ...result, fired: armed && left < 0, held };
}

const logOf = (workdir: string) =>
  readFileSync(join(workdir, 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => ({ ...JSON.parse(line), images_per_s: 0 }));

describe.each(['cpu', 'wasm'] as const)('on %s', (kind) => {
  let device: Device;
  let config: Config;
  let whole: TrainResult;
  const at = (name: string) => join(folder, `${kind}-${name}`);

  beforeAll(async () => {
    device = await openTestDevice(kind);
    config = await configWith('digits', values);
    whole = await train(config, { workdir: at('whole'), device });
  }, 60_000);

  /** Both devices run the same code above their kernels, so WebAssembly gets the first place only by default. */
  function some(places: [name: string, step: number, kernel: number][]) {
    return full || kind === 'cpu' ? places : places.slice(0, 1);
  }

  async function expectSameAsWhole(workdir: string) {
    expect(logOf(workdir)).toEqual(logOf(whole.workdir));
    for (const name of ['checkpoints/checkpoint_1', 'checkpoints-meta/state_12', 'eval/ckpt_1/evaluation'])
      if (name.startsWith('eval'))
        expect(readFileSync(join(workdir, `${name}.json`))).toEqual(readFileSync(join(whole.workdir, `${name}.json`)));
      else {
        const [a, b] = await Promise.all(
          [whole.workdir, workdir].map((root) => loadCheckpoint(join(root, `${name}.safetensors`))),
        );
        expect({ ...b, path: a.path }).toEqual(a);
      }
  }

  // Step 0 runs op by op, later steps are replayed. Steps 4, 6 and 8 are evaluated, so the kernels after step 5 are
  // those of step 6.
  it.each(
    some([
      ['the first kernel of a step', 1, 0],
      ['the middle of a step', 1, 60],
      ['the second half of a step', 9, 250],
    ]),
  )('drops the step that is interrupted at %s', async (name, step, kernel) => {
    const workdir = at(name.replaceAll(' ', '-'));
    const first = await interrupted(config, workdir, device, step, kernel);
    expect(first).toMatchObject({ fired: true, held: true, stopped: true, steps: step + 1 });
    const reference = await train(await configWith('digits', { ...values, 'training.n_iters': step }), {
      workdir: at(`reference-${step}-${kernel}`),
      device,
    });
    const [state, sound] = await Promise.all(
      [first.checkpoint, join(reference.workdir, `checkpoints-meta/state_${step + 1}.safetensors`)].map(loadCheckpoint),
    );
    for (const part of ['model', 'ema', 'moments'] as const) expect(state[part]).toEqual(sound[part]);
    const second = await train(config, { workdir, device });
    expect(second).toMatchObject({ stopped: false, steps: 12 });
    await expectSameAsWhole(workdir);
  });

  it.each(
    some([
      ['the samples of a snapshot', 6, 30],
      ['an evaluation', 4, 10],
      ['the evaluation after the samples', 6, 600],
      ['the last snapshot', 11, 5],
    ]),
  )('repeats %s that was interrupted', async (name, step, kernel) => {
    const workdir = at(name.replaceAll(' ', '-'));
    const first = await interrupted(config, workdir, device, step, kernel);
    expect(first).toMatchObject({ fired: true, stopped: true, steps: step + 1 });
    expect((await readCheckpointHeader(first.checkpoint)).unevaluated).toMatchObject({ step });
    expect(logOf(workdir).at(-1).step).toBe(step - 1);
    const second = await train(config, { workdir, device });
    expect(second).toMatchObject({ stopped: false, steps: 12 });
    await expectSameAsWhole(workdir);
  });
});
