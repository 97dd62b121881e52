// The optimisers of optim.optimizer: a run that was stopped resumes to the bits of one that was not, with the moments that the
// optimiser keeps, and a schedule reaches the log.
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { readPth, type TorchValue } from '../../../src/io/index.ts';
import { convert, loadCheckpoint, train } from '../../../src/run/index.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-optimizers-'));
const values = {
  'model.nf': 4,
  'model.ch_mult': [1],
  'model.num_res_blocks': 1,
  'training.batch_size': 4,
  'training.n_iters': 5,
  'training.snapshot_sampling': false,
  'eval.features': 'pixels',
};
const config = (changes: Record<string, unknown>) => configWith('digits', { ...values, ...changes });

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

it.each<[optimizer: string, changes: Record<string, unknown>, moments: string[]]>([
  ['Adam', {}, ['exp_avg', 'exp_avg_sq']],
  ['AdamW', { 'optim.schedule': 'cosine', 'optim.schedule_steps': 30 }, ['exp_avg', 'exp_avg_sq']],
  ['SGD', { 'optim.lr': 1e-2 }, ['momentum_buffer']],
  ['SGD', { 'optim.lr': 1e-2, 'optim.momentum': 0 }, []],
  ['Lion', { 'optim.beta2': 0.99 }, ['exp_avg']],
  ['Muon', { 'optim.weight_decay': 0.01 }, ['exp_avg', 'exp_avg_sq', 'momentum_buffer']],
])('%s with %j resumes with the same bits', async (optimizer, changes, moments) => {
  const own = await config({ 'optim.optimizer': optimizer, ...changes });
  const name = `${optimizer}${Object.keys(changes).length}`;
  const [whole, parted] = [join(folder, `${name}-whole`), join(folder, `${name}-parted`)];
  await train(own, { workdir: whole, device });
  const controller = new AbortController();
  const onStep = ({ step }: { step: number }) => step === 2 && controller.abort();
  const stopped = await train(own, { workdir: parted, device, signal: controller.signal, onStep });
  expect(stopped.stopped).toBe(true);
  await train(own, { workdir: parted, device });
  const state = (workdir: string) => loadCheckpoint(join(workdir, 'checkpoints-meta/state_6.safetensors'));
  const [a, b] = [await state(whole), await state(parted)];
  expect({ ...b, path: a.path }).toEqual(a);
  expect(Object.keys(a.moments ?? {}).sort()).toEqual(moments);
});

it('logs the rates of a schedule', async () => {
  const schedule = {
    'optim.schedule': 'linear',
    'optim.warmup': 2,
    'optim.schedule_steps': 4,
    'optim.schedule_factor': 0.5,
  };
  const workdir = join(folder, 'schedule');
  await train(await config({ 'optim.optimizer': 'AdamW', 'optim.lr': 4e-3, ...schedule }), { workdir, device });
  const lines = readFileSync(join(workdir, 'log.jsonl'), 'utf8').trim().split('\n');
  const rates = lines.map((line) => JSON.parse(line).lr as number);
  expect(rates.map((rate) => Number(rate.toPrecision(6)))).toEqual([0, 2e-3, 4e-3, 3e-3, 2e-3, 2e-3]);
});

it('refuses to resume with another optimiser, by name', async () => {
  const workdir = join(folder, 'changed');
  await train(await config({ 'training.n_iters': 1 }), { workdir, device });
  const other = config({ 'optim.optimizer': 'SGD' });
  await expect(train(await other, { workdir, device })).rejects.toThrow('optim.optimizer: "Adam" there, "SGD" now');
});

it('converts a state to the official form without moments that the official code lacks', async () => {
  const workdir = join(folder, 'converted');
  await train(await config({ 'optim.optimizer': 'Muon', 'training.n_iters': 0 }), { workdir, device });
  const pth = join(folder, 'muon.pth');
  await convert(join(workdir, 'checkpoints-meta/state_1.safetensors'), pth);
  const tree = (await readPth(pth)) as Map<string, TorchValue>;
  expect((tree.get('optimizer') as Map<string, TorchValue>).get('state')).toEqual(new Map());
});

it.each<[Record<string, unknown>, string]>([
  [{ 'optim.optimizer': 'Adagrad' }, 'optim.optimizer: expected one of Adam, AdamW, SGD, Lion, Muon; got "Adagrad"'],
  [
    { 'optim.schedule': 'cosine', 'optim.schedule_steps': 10, 'optim.warmup': 10 },
    'optim.schedule_steps: expected more than optim.warmup, 10, with optim.schedule cosine; got 10',
  ],
])('%j is refused', async (changes, message) => {
  await expect(config(changes)).rejects.toThrow(message);
});
