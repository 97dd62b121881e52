// A long training run: memory that does not grow, the same bits for any number of threads, clean shutdown.
// The default runs are short and narrow, and each kind of ending happens once; RECTIFLOW_TEST_FULL=1 trains the digits configuration as it is for 1,000 steps
// and repeats every kind of ending 20 times.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openDevice } from '../../../src/device/open.ts';
import { train } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { full } from '../../support/devices.ts';

const steps = full ? 1000 : 30;
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-training-'));
const small = { 'model.nf': 8, 'training.batch_size': 16 };

function digits(overrides: Record<string, number>) {
  return configWith('digits', { ...(full ? {} : small), ...overrides });
}

it('uses the same memory after step 20 and at the end, and losses are bit-identical for 1 and 2 threads', async () => {
  const losses: number[][] = [];
  for (const threads of [1, 2]) {
    const device = await openDevice('cpu', { threads });
    const memory: Record<number, object> = {};
    const run: number[] = [];
    await train(await digits({ 'training.n_iters': steps - 1 }), {
      workdir: join(folder, `threads${threads}`),
      device,
      onStep: ({ step, loss }) => {
        run.push(loss);
        if (step === 20 || step === steps - 1) memory[step] = device.memory();
      },
    });
    expect(memory[steps - 1]).toEqual(memory[20]);
    losses.push(run);
  }
  expect(losses[0]).toHaveLength(steps);
  expect(losses[1]).toEqual(losses[0]);
}, 1_200_000);

/** A program that embeds a training run. It prints when training has started, and exits by itself. */
const program = (onStep: string) => `
  import { openDevice } from '${new URL('../../../dist/index.js', import.meta.url).href}';
  import { loadConfig, train } from '${new URL('../../../dist/run/index.js', import.meta.url).href}';
  const config = await loadConfig('digits', { model: { nf: 8 }, training: { batch_size: 16 } });
  const device = await openDevice('cpu', { threads: 2 });
  const controller = new AbortController();
  process.once('SIGINT', () => controller.abort());
  const onStep = ${onStep};
  const ending = await train(config, { workdir: process.argv[1], device, signal: controller.signal, onStep })
    .then(({ stopped }) => (stopped ? 'stopped' : 'done'), (error) => error.message);
  console.log('ending:', ending);
`;

const endings = {
  'an exception inside a step': [`({ step }) => { if (step === 3) throw new Error('thrown inside') }`, 'thrown inside'],
  'Ctrl-C': [`({ step }) => { if (step === 3) process.kill(process.pid, 'SIGINT') }`, 'stopped'],
} as const;

const repeats = full ? 20 : 1;

it.each(Object.entries(endings))(
  `after %s, ${repeats} of ${repeats} programs exit with 0`,
  async (name, [onStep, said]) => {
    for (let i = 0; i < repeats; i++) {
      const workdir = join(folder, `${name} ${i}`);
      const child = spawn(process.execPath, ['--input-type=module', '-e', program(onStep), workdir], { cwd: folder });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
      const ended = await new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal })));
      expect(output).toBe(`ending: ${said}\n`);
      expect(ended).toEqual({ code: 0, signal: null });
      const lines = readFileSync(join(workdir, 'log.jsonl'), 'utf8').trim().split('\n');
      // A signal arrives one or two turns of the event loop later.
      expect(lines.length).toBeGreaterThanOrEqual(4);
      expect(lines.length).toBeLessThanOrEqual(6);
    }
  },
  300_000,
);

it('continues training if a snapshot gives no finite samples, with a notice', async () => {
  const notices: string[] = [];
  const device = await openDevice('cpu', { threads: 1 });
  // Noise so large in each sampling step that samples are infinite, while training is not affected.
  const wild = {
    'training.n_iters': 3,
    'training.snapshot_freq': 2,
    'sampling.sigma_variance': 1e30,
    'sampling.sample_N': 2,
  };
  const config = await digits({ ...small, ...wild });
  const { stopped } = await train(
    { ...config, sampling: { ...config.sampling, use_ode_sampler: 'euler' } },
    { workdir: join(folder, 'wild'), device, onNotice: (text) => notices.push(text) },
  );
  expect(stopped).toBe(false);
  expect(notices).toContainEqual(expect.stringMatching(/^snapshot 1 has no samples: 16 of 16 samples are not finite/));
});
