// Loggers of a training run: event files as TensorBoard reads them, metrics.csv, and loggers of the user, which may fail.
// The event files were read by TensorBoard 2.21: its HParams table showed two runs with their optim.lr and train/loss, its
// Text tab the configuration. The committed expectations are what it found.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { type RunLogger, train } from '../../../src/run/index.ts';
import { openCsv, quoteCsv } from '../../../src/run/loggers/csv.ts';
import { LoggerList } from '../../../src/run/loggers/index.ts';
import { configWith } from '../../support/config.ts';
import { openTestDevice } from '../../support/devices.ts';
import { decodeEvents } from '../../support/events.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-loggers-'));
const small = (changes: Record<string, unknown> = {}) =>
  configWith('digits', {
    'model.nf': 4,
    'model.ch_mult': [1],
    'training.batch_size': 4,
    'training.n_iters': 5,
    'training.log_freq': 2,
    'training.snapshot_freq': 4,
    'training.snapshot_freq_for_preemption': 2,
    ...changes,
  });

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
}, 60_000);

/** A logger that notes its calls. */
function recorder(): RunLogger & { calls: string[] } {
  const calls: string[] = [];
  return {
    calls,
    config: (config, { from }) => void calls.push(`config ${config.data.dataset} from ${from}`),
    scalars: (step, values) => void calls.push(`scalars ${step} ${Object.keys(values).join(' ')}`),
    images: (step, tag, { width, height }) => void calls.push(`images ${step} ${tag} ${width}x${height}`),
    text: (step, tag, text) => void calls.push(`text ${step} ${tag} ${text}`),
    close: (end) => void calls.push(`close ${end}`),
  };
}

it('a logger gets configuration, scalars, images, notices and the end, in this order; CSV and TensorBoard the same', async () => {
  const workdir = join(folder, 'all');
  const config = await small({ 'training.loggers': 'tensorboard,csv' });
  const logger = recorder();
  const stop = new AbortController();
  await train(config, {
    workdir,
    device,
    loggers: [logger],
    signal: stop.signal,
    onStep: ({ step }) => {
      if (step === 2) stop.abort();
    },
  });
  const second = recorder();
  await train(config, { workdir, device, loggers: [second] });
  expect(logger.calls[0]).toBe('config DIGITS from 0');
  expect(logger.calls).toContain('text 2 notices stopped after step 2; writing the state');
  expect(logger.calls.at(-1)).toBe('close stopped');
  expect(second.calls[0]).toBe('config DIGITS from 3');
  expect(second.calls).toContain('text 3 notices resuming from step 3');
  expect(second.calls.filter((call) => call.startsWith('images'))).toEqual([
    'images 4 samples 22x22',
    'images 5 samples 22x22',
  ]);
  expect(second.calls.filter((call) => call.includes('train/loss')).map((call) => call.split(' ')[1])).toEqual([
    '3',
    '5',
  ]);
  expect(second.calls.at(-1)).toBe('close done');

  const rows = readFileSync(join(workdir, 'metrics.csv'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => line.split(','));
  expect(rows[0]).toEqual(['step', 'name', 'value']);
  expect(rows.filter(([, name]) => name === 'train/loss').map(([step]) => step)).toEqual(['1', '3', '5']);
  expect(rows.slice(1).every(([, , value]) => Number.isFinite(Number(value)))).toBe(true);

  const files = readdirSync(join(workdir, 'tensorboard')).sort();
  const [first, last] = files.map((name) => decodeEvents(join(workdir, 'tensorboard', name)));
  const lossAt = rows.find(([step, name]) => step === '1' && name === 'train/loss') as string[];
  expect(first.scalars['train/loss']).toEqual([[1, Math.fround(Number(lossAt[2]))]]);
  expect(first.hyperparameters).toMatchObject({
    'optim.lr': config.optim.lr,
    'optim.optimizer': 'Adam',
    'data.random_flip': config.data.random_flip,
    'model.ch_mult': '[1]',
    'training.n_iters': 5,
  });
  expect(first.hyperparameters).not.toHaveProperty('eval.num_samples');
  expect(JSON.parse(first.texts.config.replace(/```/g, ''))).toEqual(config);
  expect(first.texts.session).toMatch(/^rectiflow [\d.]+ \(.*\), step 0, on cpu/);
  expect([first.status, last.status]).toEqual([undefined, 1]);
  expect([first.from, last.from]).toEqual([0, 3]);
}, 60_000);

it('training.loggers none writes neither', async () => {
  const workdir = join(folder, 'none');
  await train(await small({ 'training.loggers': 'none', 'training.n_iters': 1 }), { workdir, device });
  expect(readdirSync(workdir)).toEqual(expect.not.arrayContaining(['tensorboard', 'metrics.csv']));
}, 60_000);

it('a logger that fails, or never answers, is left out with a notice; the others and the run continue', async () => {
  const notices: string[] = [];
  const good = recorder();
  const list = new LoggerList(
    [good],
    [
      {
        name: 'Broken',
        scalars: () => {
          throw new Error('503');
        },
      },
      { name: 'Silent', scalars: () => new Promise(() => {}) },
    ],
    (text) => notices.push(text),
    20,
  );
  await list.scalars(1, { a: 1 });
  await list.scalars(2, { a: 1 });
  await list.close('done');
  expect(notices).toEqual([
    'the logger Broken failed and is not called again: 503',
    'the logger Silent failed and is not called again: it did not answer within 0.02 s',
  ]);
  expect(good.calls).toEqual(['scalars 1 a', 'scalars 2 a', 'close done']);
});

it('an error of the files of a run is an error of the run', async () => {
  const list = new LoggerList(
    [
      {
        scalars: () => {
          throw new Error('disk full');
        },
      },
    ],
    [],
    () => {},
  );
  await expect(list.scalars(1, { a: 1 })).rejects.toThrow('disk full');
});

it('loggers are checked before training', async () => {
  const options = { workdir: join(folder, 'checked'), device, loggers: [{ log: () => {} }] as unknown as RunLogger[] };
  await expect(train(await small(), options)).rejects.toThrow('a list of loggers, objects with a method scalars');
});

it('metrics.csv keeps the whole rows of earlier steps, and quotes names', async () => {
  const path = join(folder, 'metrics.csv');
  writeFileSync(path, 'step,name,value\n1,a,2\n1,"b, c",3\n2,a,1e-7\nrubbish\n3,a,4\n2,a,0.1');
  const csv = await openCsv(path, 3);
  await csv.scalars(3, { 'x"y': 0.5, n: Number.NaN });
  await csv.close?.('done');
  expect(readFileSync(path, 'utf8')).toBe('step,name,value\n1,a,2\n1,"b, c",3\n2,a,1e-7\n3,"x""y",0.5\n3,n,NaN\n');
  expect(quoteCsv('plain')).toBe('plain');
  writeFileSync(path, 'date,price\n1,2\n');
  await expect(openCsv(path, 3)).rejects.toThrow(/metrics\.csv: is not a table of a run: it begins with "date,price"$/);
  expect(readFileSync(path, 'utf8')).toBe('date,price\n1,2\n');
});

it('the adapter to MLflow creates a run, logs parameters and metrics, and ends it', async () => {
  const calls: [string, Record<string, unknown>][] = [];
  const server = createServer((request: IncomingMessage, response) => {
    let body = '';
    request.on('data', (piece) => (body += piece));
    request.on('end', () => {
      calls.push([request.url as string, JSON.parse(body)]);
      response.end(JSON.stringify({ run: { info: { run_id: 'r1' } } }));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const script = fileURLToPath(new URL('../../../examples/mlflow.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, url, 'run'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  child.stdout.on('data', (piece) => (printed += piece));
  child.stderr.on('data', (piece) => (printed += piece));
  const [status] = await once(child, 'close');
  server.close();
  expect(printed).toMatch(/^loss [\d.]+\n$/);
  expect(status).toBe(0);
  const metrics = calls.flatMap(([, body]) => (body.metrics as { key: string; value: number; step: number }[]) ?? []);
  expect(calls.map(([path]) => path.split('/').at(-1)).filter((name, i, all) => name !== all[i - 1])).toEqual([
    'create',
    'log-batch',
    'update',
  ]);
  expect(calls[0][1]).toMatchObject({ experiment_id: '0', run_name: 'run' });
  expect(calls[1][1]).toMatchObject({
    run_id: 'r1',
    params: [{ key: 'lr', value: '0.002' }, { key: 'optimizer' }, { key: 'batch_size', value: '16' }],
  });
  expect(metrics.filter(({ key }) => key === 'train/loss').map(({ step }) => step)).toEqual([4, 9, 14, 19, 20]);
  expect(calls.at(-1)?.[1]).toMatchObject({ run_id: 'r1', status: 'FINISHED' });
}, 60_000);
