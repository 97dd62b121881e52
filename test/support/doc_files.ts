// The files that examples in docstrings read: runs, pairs, and data sets in the layouts in which they are downloaded. An example
// that names one finds it in its folder.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDevice } from '../../src/index.ts';
import { writePng } from '../../src/io/index.ts';
import { tuningOf } from '../../src/kernels/conv/algorithm.ts';
import { loadConfig, saveTextToImage, train } from '../../src/run/index.ts';
import { writeTuning } from '../../src/run/machine/tuning.ts';
import { makePairs } from './pairs.ts';
import { smallModel } from './small_model.ts';

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url));

/** Makes each at a path, by the name that examples use. */
const files: Record<string, (path: string) => unknown> = {
  // What `rectiflow train --config digits` leaves, of a smaller network and fewer steps.
  'runs/digits': async (path) => {
    const config = await loadConfig('digits', {
      model: { nf: 8 },
      training: { batch_size: 8, n_iters: 4, snapshot_freq: 4, snapshot_sampling: false },
      eval: { batch_size: 8, num_samples: 8, straightness_samples: 4, max_images: 64 },
    });
    await train(config, { workdir: path, device: await openDevice('cpu') });
  },
  'runs/faster': async (path) => {
    cpSync(await made('runs/digits'), path, { recursive: true });
    const file = join(path, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...config, optim: { ...config.optim, lr: 0.02 } }));
  },
  pairs: (path) => {
    mkdirSync(path);
    return makePairs({ shape: [1, 8, 8], count: 32 }, { root: path, name: '1' });
  },
  photos: async (path) => {
    mkdirSync(path);
    for (let i = 0; i < 8; i++) {
      const data = Uint8Array.from({ length: 12 * 10 * 3 }, (_, at) => (at * 7 + i * 31) % 256);
      await writePng(join(path, `${i}.png`), { width: 12, height: 10, channels: 3, data });
    }
  },
  'cifar-10-batches-bin': (path) => {
    mkdirSync(path);
    writeFileSync(join(path, 'test_batch.bin'), new Uint8Array(10_000 * 3073));
  },
  mnist: (path) => {
    mkdirSync(path);
    writeFileSync(join(path, 't10k-images-idx3-ubyte'), idxOf([2, 28, 28], new Uint8Array(2 * 28 * 28)));
    writeFileSync(join(path, 't10k-labels-idx1-ubyte'), idxOf([2], Uint8Array.of(7, 2)));
  },
  instaflow: async (path) => {
    const model = await smallModel(await openDevice('cpu'), join(path, '..', 'parts'));
    await saveTextToImage(path, model);
    model.dispose();
  },
  lsun: (path) => cpSync(join(fixtures, 'lsun'), path, { recursive: true }),
  'tuning.json': async (path) => {
    const origin = { cpu: 'a processor', device: 'cpu', created: '2026-01-01' };
    await writeTuning(path, tuningOf(await openDevice('cpu')), origin);
  },
};

/** An IDX file of unsigned bytes. */
function idxOf(shape: readonly number[], data: Uint8Array): Buffer {
  const head = Buffer.alloc(4 + 4 * shape.length);
  head[2] = 8;
  head[3] = shape.length;
  for (const [i, dim] of shape.entries()) head.writeUInt32BE(dim, 4 + 4 * i);
  return Buffer.concat([head, data]);
}

const root = mkdtempSync(join(tmpdir(), 'rectiflow-doc-files-'));
const paths = new Map<string, Promise<string>>();

/** The path of a file, which is made once. */
function made(name: string): Promise<string> {
  const make = async () => {
    const path = join(root, name);
    mkdirSync(join(path, '..'), { recursive: true });
    await files[name](path);
    return path;
  };
  const path = paths.get(name) ?? make();
  paths.set(name, path);
  return path;
}

/** A new folder with copies of the files that an example names. */
export async function folderOf(code: string): Promise<string> {
  const folder = mkdtempSync(join(root, 'example-'));
  for (const name of Object.keys(files))
    if (new RegExp(`['/]${name}['/]`).test(code)) {
      mkdirSync(join(folder, name, '..'), { recursive: true });
      cpSync(await made(name), join(folder, name), { recursive: true });
    }
  return folder;
}
