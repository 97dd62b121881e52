// Two worker threads train at the same time, each with its own device, and get the bits of a single run.
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-workers-'));
const dist = (path: string) => new URL(`../../../dist/${path}`, import.meta.url).href;
const program = `
  import { parentPort, workerData } from 'node:worker_threads';
  import { openDevice } from '${dist('index.js')}';
  import { loadConfig, train } from '${dist('run/index.js')}';
  const training = { batch_size: 16, n_iters: 39 };
  const losses = [];
  await train(await loadConfig('digits', { model: { nf: 8 }, training, seed: workerData.seed }), {
    workdir: workerData.workdir,
    device: await openDevice('cpu', { threads: 2 }),
    onStep: ({ loss }) => losses.push(loss),
  });
  parentPort.postMessage(losses);
`;

function trainInWorker(name: string, seed: number): Promise<number[]> {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), {
    workerData: { workdir: join(folder, name), seed },
  });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

it('two threads train at the same time', async () => {
  const alone = await trainInWorker('alone', 1);
  const [same, other] = await Promise.all([trainInWorker('first', 1), trainInWorker('second', 2)]);
  expect(alone).toHaveLength(40);
  expect(same).toEqual(alone);
  expect(other).not.toEqual(alone);
}, 120_000);
