// A work directory belongs to one stage: another stage uses a sibling folder, in any order, and finds it again.
// Commands that do not train may use any of them.
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import {
  evaluateSnapshots,
  generatePairs,
  loadCheckpoint,
  readCheckpointHeader,
  train,
  trainReflow,
} from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-stages-'));
const flow = join(folder, 'flow/checkpoints/checkpoint_0.safetensors');
const offline = { 'reflow.reflow_type': 'train_reflow' };
const online = { 'reflow.reflow_type': 'train_online_reflow' };

async function config(values: Record<string, unknown> = {}) {
  const all = {
    'model.nf': 8,
    'training.batch_size': 4,
    'training.n_iters': 2,
    'training.snapshot_sampling': false,
    'reflow.last_flow_ckpt': flow,
    'reflow.data_root': join(folder, 'pairs'),
    'reflow.total_number_of_samples': 16,
    'reflow.online_steps': 2,
    'sampling.use_ode_sampler': 'euler',
    'sampling.sample_N': 2,
    ...values,
  };
  return configWith('digits', all);
}

let device: Device;
beforeAll(async () => {
  // Small batches are faster with one thread.
  device = await openDevice('cpu', { threads: 1 });
  await train(await config(), { workdir: join(folder, 'flow'), device });
  await generatePairs(await config(), { device });
}, 120_000);

/** Runs a stage. @returns its folder below `folder`, its steps and its notices */
async function run(kind: typeof train, values: Record<string, unknown>, workdir: string) {
  const notices: string[] = [];
  const result = await kind(await config(values), {
    workdir: join(folder, workdir),
    device,
    onNotice: (text) => notices.push(text),
  });
  return { where: result.workdir.slice(folder.length + 1), steps: result.steps, notices };
}

const files = (path: string) =>
  Object.fromEntries(
    readdirSync(join(folder, path), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => [entry.name, readFileSync(join(entry.parentPath, entry.name)).toString('base64')]),
  );

describe('a training stage in the folder of another', () => {
  it('uses a sibling folder, reports that in one line, and resumes there', async () => {
    expect(await run(trainReflow, offline, 'second')).toEqual({ where: 'second', steps: 3, notices: [] });
    const before = files('second');
    const { teacher } =
      (await readCheckpointHeader(join(folder, 'second/checkpoints-meta/state_3.safetensors'))).stage ?? {};
    const short = `(teacher ${teacher?.slice(0, 12)})`;
    const own = join(folder, 'second_train_online_reflow');
    const line = `${join(folder, 'second')} holds a run of train_reflow ${short}; train_online_reflow ${short} uses ${own}`;
    expect(await run(trainReflow, online, 'second')).toEqual({
      where: 'second_train_online_reflow',
      steps: 3,
      notices: [line],
    });
    const longer = { ...online, 'training.n_iters': 4 };
    expect(await run(trainReflow, longer, 'second/')).toMatchObject({
      where: 'second_train_online_reflow',
      steps: 5,
      notices: [`${line.replace('second holds', 'second/ holds')}`, 'resuming from step 3'],
    });
    expect(files('second')).toEqual(before);
    expect((await loadCheckpoint(join(own, 'checkpoints-meta/state_5.safetensors'))).stage).toEqual({
      name: 'train_online_reflow',
      teacher,
    });
    // If the sibling is named itself, it is used.
    expect(await run(trainReflow, longer, 'second_train_online_reflow')).toMatchObject({
      where: 'second_train_online_reflow',
      notices: ['resuming from step 5'],
    });
  });

  it('may be a flow or a student of another teacher', async () => {
    expect((await run(trainReflow, offline, 'third')).where).toBe('third');
    expect((await run(train, {}, 'third')).where).toBe('third_train');
    const other = join(folder, 'other.safetensors');
    await train(await config({ seed: 7 }), { workdir: join(folder, 'flow7'), device });
    copyFileSync(join(folder, 'flow7/checkpoints/checkpoint_0.safetensors'), other);
    const student = { ...offline, 'reflow.last_flow_ckpt': other };
    expect((await run(trainReflow, student, 'third')).where).toBe('third_train_reflow');
    rmSync(other);
    copyFileSync(join(folder, 'flow/checkpoints/checkpoint_0.safetensors'), other);
    // The first teacher under another name: its stage resumes.
    expect(await run(trainReflow, student, 'third')).toEqual({
      where: 'third',
      steps: 3,
      notices: ['resuming from step 3'],
    });
    await train(await config({ seed: 8 }), { workdir: join(folder, 'flow8'), device });
    const third = { ...offline, 'reflow.last_flow_ckpt': join(folder, 'flow8/checkpoints/checkpoint_0.safetensors') };
    expect((await run(trainReflow, third, 'third')).where).toBe('third_train_reflow_2');
    expect((await run(trainReflow, third, 'third')).notices.at(-1)).toBe('resuming from step 3');
  });

  it('is refused if the named folder must be used', async () => {
    await run(trainReflow, offline, 'chained');
    const named = { workdir: join(folder, 'chained'), device, otherStage: 'refuse' } as const;
    await expect(trainReflow(await config(online), named)).rejects.toThrow(
      /chained holds a run of train_reflow .*, not of train_online_reflow .*; remove it, or give another --workdir/,
    );
    expect(existsSync(join(folder, 'chained_train_online_reflow'))).toBe(false);
  });

  it('finds its folder even if the first one has become free', async () => {
    await run(trainReflow, offline, 'fourth');
    await run(trainReflow, online, 'fourth');
    rmSync(join(folder, 'fourth_train_online_reflow/checkpoints-meta'), { recursive: true });
    // Identified by a snapshot if there is no state.
    expect((await run(trainReflow, online, 'fourth')).where).toBe('fourth_train_online_reflow');
  });

  it('uses a folder without a checkpoint, or without one that names a stage', async () => {
    mkdirSync(join(folder, 'begun/checkpoints-meta'), { recursive: true });
    writeFileSync(join(folder, 'begun/checkpoints-meta/state_9.safetensors.tmp'), '');
    expect(await run(trainReflow, online, 'begun')).toMatchObject({ where: 'begun', notices: [] });
  });

  it('refuses another configuration of the same stage, naming its keys', async () => {
    await run(trainReflow, offline, 'fifth');
    const before = files('fifth');
    await expect(
      run(
        trainReflow,
        { ...offline, 'optim.lr': 0.5, 'sampling.init_noise_scale': 2, 'sampling.sample_N': 9 },
        'fifth',
      ),
    ).rejects.toThrow(
      /another configuration.*same values:\n {2}optim\.lr: \S+ there, 0\.5 now\n {2}sampling\.init_noise_scale: 1 there, 2 now$/,
    );
    await expect(run(trainReflow, { ...offline, 'reflow.last_flow_ckpt': 'gone.pth' }, 'fifth')).rejects.toThrow(
      /gone\.pth: no such file/,
    );
    expect(files('fifth')).toEqual(before);
  });
});

describe('without training', () => {
  it('eval accepts any configuration of the same network and data range', async () => {
    const values = { 'model.dropout': 0.4, 'model.ema_rate': 0.5, 'optim.lr': 1, 'training.batch_size': 2, seed: 5 };
    const evaluate = async (changes: Record<string, unknown>) =>
      evaluateSnapshots(
        await config({ 'eval.enable_loss': true, 'eval.begin_ckpt': 0, 'eval.max_images': 4, ...changes }),
        { workdir: join(folder, 'flow'), device },
      );
    expect(await evaluate(values)).toMatchObject([{ name: 'checkpoint_0', loss: { images: 4 } }]);
    await expect(evaluate({ 'data.centered': false, 'model.nonlinearity': 'elu' })).rejects.toThrow(
      /checkpoint_0\.safetensors: belongs to another network than the configuration:\n {2}data\.centered: true there, false now\n {2}model\.nonlinearity: "swish" there, "elu" now$/,
    );
  });

  it('pairs of another teacher are generated in the same folder', async () => {
    const root = join(folder, 'more');
    for (const [name, teacher] of [
      ['1', 'flow'],
      ['2', 'flow7'],
    ]) {
      const values = {
        'reflow.data_root': join(root, name),
        'reflow.last_flow_ckpt': join(folder, teacher, 'checkpoints/checkpoint_0.safetensors'),
      };
      await generatePairs(await config(values), { device });
    }
    expect(existsSync(join(root, '1/42/z1.npy'))).toBe(true);
    expect(readFileSync(join(root, '1/42/z1.npy'))).not.toEqual(readFileSync(join(root, '2/42/z1.npy')));
  });
});
