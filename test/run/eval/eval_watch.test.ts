// `eval --watch`: snapshots that appear, are replaced and disappear, and the record of the best.
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { keepBest } from '../../../src/run/eval/best.ts';
import { type EvalRow, train, type WatchOptions, watchSnapshots } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-watch-'));
const trained = join(root, 'trained');

const configOf = (values: Record<string, unknown> = {}) =>
  configWith('digits', {
    'model.nf': 8,
    'training.batch_size': 16,
    'training.n_iters': 12,
    'training.snapshot_freq': 4,
    'training.snapshot_sampling': false,
    'eval.enable_loss': true,
    'eval.max_images': 20,
    'eval.begin_ckpt': 1,
    'eval.end_ckpt': 3,
    ...values,
  });

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  await train(await configOf(), { workdir: trained, device });
}, 120_000);

const snapshot = (workdir: string, number: number) => join(workdir, `checkpoints/checkpoint_${number}.safetensors`);

/** Writes a snapshot as training does: complete, by a rename. */
function place(workdir: string, number: number, from = number): void {
  mkdirSync(join(workdir, 'checkpoints'), { recursive: true });
  copyFileSync(snapshot(trained, from), snapshot(workdir, 99));
  renameSync(snapshot(workdir, 99), snapshot(workdir, number));
}

async function watched(name: string, options: Partial<WatchOptions>, values: Record<string, unknown> = {}) {
  const notices: string[] = [];
  const rows = await watchSnapshots(await configOf(values), {
    workdir: join(root, name),
    device,
    timeoutMinutes: 1,
    pollSeconds: 0.02,
    onNotice: (text) => notices.push(text),
    ...options,
  });
  return { rows, notices };
}

const stepsOf = (rows: EvalRow[]) => rows.map(({ step }) => step);
const best = (name: string) => JSON.parse(readFileSync(join(root, name, 'eval/best.json'), 'utf8'));

describe('watching', () => {
  it('evaluates snapshots as they appear, ends with the last of the range, and records the best by loss', async () => {
    const workdir = join(root, 'comes');
    const pointers: string[] = [];
    setTimeout(() => place(workdir, 1), 100);
    const { rows, notices } = await watched('comes', {
      onRow: ({ name }) => {
        if (name !== 'checkpoint_1') pointers.push(best('comes').checkpoint);
        if (name !== 'checkpoint_3') place(workdir, Number(name.at(-1)) + 1);
      },
    });
    expect(stepsOf(rows)).toEqual([5, 9, 13]);
    expect(notices).toEqual([]);
    const losses = rows.map(({ loss }) => loss?.loss as number);
    const lowest = losses.indexOf(Math.min(...losses));
    expect(best('comes')).toEqual({
      checkpoint: `checkpoints/checkpoint_${lowest + 1}.safetensors`,
      step: rows[lowest].step,
      score: 'loss over 20 images, seed 42',
      value: losses[lowest],
    });
    expect(pointers[0]).toBe('checkpoints/checkpoint_1.safetensors');
  });

  it('evaluates a replaced snapshot again, and reports removed ones and those outside the range', async () => {
    const workdir = join(root, 'changes');
    for (const number of [1, 2]) place(workdir, number);
    place(workdir, 7, 3);
    const seen: number[] = [];
    const { rows, notices } = await watched('changes', {
      timeoutMinutes: 0.005,
      onRow: ({ step }) => {
        seen.push(step);
        if (seen.length > 1) return;
        rmSync(snapshot(workdir, 2));
        place(workdir, 1, 3);
      },
    });
    expect(seen).toEqual([5, 13]);
    expect(stepsOf(rows)).toEqual([13]);
    expect(notices).toEqual([
      'not evaluated, outside eval.begin_ckpt 1 to eval.end_ckpt 3: 7',
      `${snapshot(workdir, 2)} was removed before it was evaluated; skipped`,
    ]);
  });

  it('ends after the timeout, with no rows if nothing appeared', async () => {
    expect((await watched('nothing', { timeoutMinutes: 0.002 })).rows).toEqual([]);
    place(join(root, 'one'), 1);
    expect(stepsOf((await watched('one', { timeoutMinutes: 0.002 })).rows)).toEqual([5]);
  });

  it('ends immediately on its signal, waiting or evaluating, with the results so far', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    for (const number of [1, 2]) place(join(root, 'told'), number);
    const onProgress: WatchOptions['onProgress'] = ({ checkpoint }) =>
      checkpoint === 'checkpoint_2' && controller.abort();
    const batches = { 'eval.batch_size': 8 };
    expect(stepsOf((await watched('told', { signal, onProgress }, batches)).rows)).toEqual([5]);
    const waiting = new AbortController();
    setTimeout(() => waiting.abort(), 100);
    expect((await watched('waits', { signal: waiting.signal })).rows).toEqual([]);
  });

  it('reports that there is no best without loss and scores', async () => {
    place(join(root, 'sheets'), 3);
    const { rows, notices } = await watched(
      'sheets',
      {},
      { 'eval.enable_figures_only': true, 'eval.num_samples': 2, 'sampling.sample_N': 1 },
    );
    expect(stepsOf(rows)).toEqual([13]);
    expect(notices).toEqual(['best.json is not written: it requires scores of samples or --config.eval.enable_loss']);
  });

  it('throws for a snapshot of another network', async () => {
    place(join(root, 'other'), 1);
    await expect(watched('other', {}, { 'model.nf': 16 })).rejects.toThrow(
      'belongs to another network than the configuration',
    );
  });
});

describe('the best', () => {
  const workdir = join(root, 'best');
  const row = (number: number, distance: number, features = 'pixels'): EvalRow => ({
    name: `checkpoint_${number}`,
    checkpoint: snapshot(workdir, number),
    step: 10 * number,
    samples: { count: 50, nfe: 1, folder: join(workdir, 'eval/ckpt_1/euler-1-42'), files: [], leftOut: 0 },
    scores: { features, samples: 50, statistics: 'x.npz', frechetDistance: distance },
  });
  const kept = async (...rows: EvalRow[]) => {
    await keepBest(workdir, await configOf(), rows);
    return best('best');
  };

  it('is chosen by the Frechet distance if there is one, and is kept across restarts', async () => {
    mkdirSync(join(workdir, 'eval'), { recursive: true });
    for (const number of [1, 2, 3]) place(workdir, number);
    const score = 'Frechet distance of pixels over 50 samples of euler-1-42';
    expect(await kept(row(1, 3), row(2, 2))).toEqual({
      checkpoint: 'checkpoints/checkpoint_2.safetensors',
      step: 20,
      score,
      value: 2,
    });
    expect(await kept(row(1, 3))).toMatchObject({ step: 20, value: 2 });
    expect(await kept(row(3, 1))).toMatchObject({ step: 30, value: 1 });
  });

  it('is replaced if it was evaluated again, its checkpoint is gone, or the score is of another kind', async () => {
    expect(await kept(row(3, 5))).toMatchObject({ step: 30, value: 5 });
    rmSync(snapshot(workdir, 3));
    expect(await kept(row(1, 6))).toMatchObject({ step: 10, value: 6 });
    expect(await kept(row(2, 7, 'inception'))).toMatchObject({ step: 20, value: 7 });
  });
});
