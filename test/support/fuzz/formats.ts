// The formats that this package reads: for each a valid file, mutants of it, and all functions that read it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { decodePickledBatch } from '../../../src/data/cifar10_batch.ts';
import { parseDigits } from '../../../src/data/digits.ts';
import {
  checkPairs,
  loadCifar10,
  loadMnist,
  openImageFolder,
  openLmdb,
  openLsun,
  PairSet,
} from '../../../src/data/index.ts';
import { refuseBroken } from '../../../src/data/pairs/check.ts';
import { KernelCache } from '../../../src/device/cache.ts';
import type { Device } from '../../../src/device/device.ts';
import { loadClassifier, readStatistics } from '../../../src/eval/index.ts';
import { tarGzFiles } from '../../../src/io/archives/tar.ts';
import {
  type ArrayFile,
  EventFile,
  encodeNpy,
  flattenTorch,
  NpyRows,
  readNpy,
  readNpz,
  readPng,
  readPth,
  readSafetensors,
  type TorchValue,
  unflattenTorch,
  writeNpz,
  writePth,
  writeSafetensors,
} from '../../../src/io/index.ts';
import { algorithms, convPasses } from '../../../src/kernels/tuning/table.ts';
import { writeCheckpoint } from '../../../src/run/checkpoints/checkpoint.ts';
import { numberedCheckpoints } from '../../../src/run/checkpoints/find.ts';
import { outlineModel } from '../../../src/run/checkpoints/model.ts';
import { toOfficialCheckpoint } from '../../../src/run/checkpoints/official_checkpoint.ts';
import { openCheckpoint } from '../../../src/run/checkpoints/open.ts';
import { keepBest } from '../../../src/run/eval/best.ts';
import { drawSamples } from '../../../src/run/eval/draw_samples.ts';
import {
  buildModel,
  type Config,
  inspectFile,
  loadCheckpoint,
  loadConfig,
  loadModel,
  readLatents,
  reportedFlows,
  resolveConfig,
} from '../../../src/run/index.ts';
import { readTuning } from '../../../src/run/machine/tuning.ts';
import { lockFolder, lockTiming } from '../../../src/run/workdir/lock.ts';
import { newOwner, ownerLine } from '../../../src/run/workdir/lock_owner.ts';
import { readLog, StepLog } from '../../../src/run/workdir/log.ts';
import { stageFolder } from '../../../src/run/workdir/stage_folder.ts';
import { configWith } from '../config.ts';
import { lmdbOf } from '../lmdb.ts';
import { makePairs } from '../pairs.ts';
import {
  mutateGzip,
  mutateNpy,
  mutatePng,
  mutateSafetensors,
  mutateTar,
  mutateZip,
  type ZipMember,
  zipOf,
} from './containers.ts';
import { type Draw, dims, jsonFile, jsonText, mutateBytes, mutateJson, names, truncate, writeBorder } from './draw.ts';
import { mutatePickle, operationsOf, randomPickle } from './pickles.ts';

type Bytes = Buffer;

/** A file's bytes, filled up with zeros to a length where one is given; a symbolic link; null is a folder. */
export type Content = Uint8Array | { start: Uint8Array; length: number } | { link: string } | null;
export type Files = Record<string, Content>;

export interface Format {
  whole: Files;
  mutate(draw: Draw): Files;
  /** Reads the files in the folder with every reader of the package. @throws RectiflowError for what it refuses */
  read(folder: string): Promise<unknown>;
  /** Names that reading leaves in the folder. */
  leaves?: RegExp;
  /** A command line that reads it, run in the folder. */
  command?: string[];
  environment?: Record<string, string>;
}

const fixtures = fileURLToPath(new URL('../../fixtures/', import.meta.url));
const fixture = (name: string): Bytes => Buffer.from(readFileSync(join(fixtures, name)));
const array = (shape: number[], scale = 1): ArrayFile & { data: Float32Array } => ({
  shape,
  dtype: 'f32',
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => scale * Math.sin(i + 1)),
});
const json = (value: unknown): Bytes => Buffer.from(JSON.stringify(value));

/** @param folder for temporary files */
export async function makeFormats(folder: string, device: Device): Promise<Record<string, Format>> {
  const made = async (name: string, write: (path: string) => Promise<unknown>): Promise<Bytes> => {
    await write(join(folder, name));
    return Buffer.from(readFileSync(join(folder, name)));
  };
  const config = await configWith('digits', {
    'model.nf': 8,
    'model.ch_mult': [1],
    'model.num_res_blocks': 1,
    'model.attn_resolutions': [],
    'eval.num_samples': 3,
    'eval.batch_size': 2,
    'sampling.sample_N': 1,
  });
  const outline = outlineModel(config);
  const values = (scale: number) =>
    new Map(Array.from(outline.stateDict(), ([name, { shape }]) => [name, array([...shape], scale)] as const));
  const state = {
    config,
    step: 3,
    stage: { name: 'train' },
    model: values(0.1),
    ema: values(0.1),
    emaDecay: 0.999,
    moments: { exp_avg: values(0.01), exp_avg_sq: values(0) },
  };
  const checkpoint = await made('checkpoint_1.safetensors', (path) => writeCheckpoint({ ...state, path }));
  const official = await made('official.pth', (path) =>
    writePth(path, toOfficialCheckpoint({ ...state, path }, outline, config)),
  );
  const owned = { checkpoint, official, config, device };
  return {
    ...(await tensorFormats(made)),
    ...(await checkpointFormats(made, owned)),
    ...pickleFormats(),
    ...(await imageFormats()),
    ...dataFormats(),
    ...(await pairFormats()),
    ...textFormats(owned),
    ...runFormats(owned),
  };
}

type Made = (name: string, write: (path: string) => Promise<unknown>) => Promise<Bytes>;
interface Owned {
  checkpoint: Bytes;
  official: Bytes;
  config: Config;
  device: Device;
}

async function tensorFormats(made: Made): Promise<Record<string, Format>> {
  const safetensors = await made('a.safetensors', (path) =>
    writeSafetensors(
      path,
      { a: array([2, 3]), b: { shape: [2], dtype: 'i64', data: new BigInt64Array(2) }, c: array([0, 2]) },
      { step: '3', note: 'x' },
    ),
  );
  const tensors = [safetensors, fixture('io/numpy.safetensors'), fixture('io/bf16.safetensors')];
  const arrays = ['f32', 'version2', 'version3', 'f32_big_endian_fortran', 'bool', 'i64', 'scalar', 'empty'].map(
    (name) => fixture(`io/${name}.npy`),
  );
  const archives = ['stored', 'deflated'].map((name) => fixture(`io/${name}.npz`));
  const latents = Buffer.from(encodeNpy(array([2, 1, 8, 8])));
  const d = 4;
  const spread: ArrayFile = {
    shape: [d, d],
    dtype: 'f64',
    data: Float64Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 2 : 0.5)),
  };
  const mean: ArrayFile = { shape: [d], dtype: 'f64', data: new Float64Array(d) };
  const gaussian = await made('gaussian.npz', (path) => writeNpz(path, { mu: mean, sigma: spread }));
  const vectors = await made('vectors.npz', (path) =>
    writeNpz(path, { pool_3: array([6, d]), features: { shape: [1], dtype: 'u8', data: Uint8Array.of(97) } }),
  );
  const npz = (draw: Draw, archive: Bytes) =>
    draw.chance(0.2)
      ? mutateBytes(draw, archive)
      : mutateZip(draw, archive, ({ bytes }) => mutateNpy(draw, bytes), true);
  const digits = await configWith('digits', {});
  return {
    safetensors: {
      whole: { 'x.safetensors': tensors[0] },
      mutate: (draw) => ({ 'x.safetensors': mutateSafetensors(draw, draw.pick(tensors)) }),
      read: async (folder) => {
        const path = join(folder, 'x.safetensors');
        await readSafetensors(path);
        await inspectFile(path);
      },
      command: ['inspect', 'x.safetensors'],
    },
    npy: {
      whole: { 'x.npy': arrays[0] },
      mutate: (draw) => ({ 'x.npy': mutateNpy(draw, draw.pick(arrays)) }),
      read: async (folder) => {
        const path = join(folder, 'x.npy');
        const { shape, data } = await readNpy(path);
        if (data.length !== shape.reduce((a, b) => a * b, 1)) throw new Error('shape and elements differ');
        const rows = await NpyRows.open(path);
        try {
          for (const row of [0, rows.count - 1]) if (row >= 0 && row < rows.count) await rows.row(row);
        } finally {
          await rows.close();
        }
      },
    },
    npz: {
      whole: { 'x.npz': archives[0] },
      mutate: (draw) => ({ 'x.npz': npz(draw, draw.pick(archives)) }),
      read: (folder) => readNpz(join(folder, 'x.npz')),
    },
    statistics: {
      whole: { 'x.npz': gaussian },
      mutate: (draw) => ({ 'x.npz': npz(draw, draw.pick([gaussian, vectors])) }),
      read: (folder) => readStatistics(join(folder, 'x.npz')),
    },
    latents: {
      whole: { 'x.npy': latents },
      mutate: (draw) => ({ 'x.npy': mutateNpy(draw, latents) }),
      read: (folder) => readLatents(join(folder, 'x.npy'), digits),
    },
  };
}

async function checkpointFormats(made: Made, { checkpoint, official, config, device }: Owned) {
  const tree = flattenTorch(await readPth(join(fixtures, 'io/torch_zip.pth')));
  const converted = await made('tree.safetensors', (path) => writeSafetensors(path, tree.tensors, { tree: tree.tree }));
  const metadata = (draw: Draw) => (key: string, text: string) => {
    if (key === 'config' || key === 'tree' || key === 'images') {
      const file = draw.chance(0.9) ? jsonText(mutateJson(draw, JSON.parse(text), draw.pick([0.01, 0.05]))) : 'x';
      return file;
    }
    return draw.pick(['', '-1', '0', '2', '1e999', '9007199254740993', '0.5', 'NaN', 'x\x1b[1m', text, null, 5]);
  };
  const classifier = await made('classifier.safetensors', async (path) => {
    const { Classifier, saveClassifier } = await import('../../../src/eval/classifier.ts');
    const network = new Classifier({ imageSize: 4, channels: 1, centered: true }, 3, { device });
    await saveClassifier(path, network, 0.5);
    network.dispose();
  });
  const checkpoints: Record<string, Format> = {
    checkpoint: {
      whole: { 'x.safetensors': checkpoint },
      mutate: (draw) => ({ 'x.safetensors': mutateSafetensors(draw, checkpoint, metadata(draw)) }),
      read: async (folder) => {
        const path = join(folder, 'x.safetensors');
        const { config: own } = await loadCheckpoint(path);
        await inspectFile(path);
        const { model } = await loadModel(path, await resolveConfig(own, path), { device });
        model.dispose();
      },
      command: [
        'sample',
        '--checkpoint',
        'x.safetensors',
        '--num',
        '1',
        '--steps',
        '1',
        '--sampler',
        'euler',
        '--out',
        'x.npy',
      ],
      leaves: /^x\.npy$/,
    },
    'converted checkpoint': {
      whole: { 'x.safetensors': converted },
      mutate: (draw) => ({ 'x.safetensors': mutateSafetensors(draw, converted, metadata(draw)) }),
      read: async (folder) => {
        const path = join(folder, 'x.safetensors');
        await inspectFile(path);
        const { metadata: texts, tensors } = await readSafetensors(path);
        if (texts.tree !== undefined) unflattenTorch(path, tensors, texts.tree);
      },
      command: ['convert', 'x.safetensors', 'y.pth'],
      leaves: /^y\.pth$/,
    },
    'official checkpoint': {
      whole: { 'x.pth': official },
      mutate: (draw) => ({
        'x.pth': mutateZip(draw, official, ({ name, bytes }) => inner(draw, name, bytes), false),
      }),
      read: async (folder) => {
        using outline = outlineModel(config);
        await openCheckpoint(join(folder, 'x.pth'), outline, config);
      },
      command: ['convert', 'x.pth', 'y.safetensors'],
      leaves: /^y\.safetensors$/,
    },
    classifier: {
      whole: { 'x.safetensors': classifier },
      mutate: (draw) => ({ 'x.safetensors': mutateSafetensors(draw, classifier, metadata(draw)) }),
      read: async (folder) => (await loadClassifier(join(folder, 'x.safetensors'), { device })).network.dispose(),
    },
  };
  return checkpoints;
}

/** The pickle of a .pth by its operations, storages by their bytes. */
function inner(draw: Draw, name: string, bytes: Bytes): Uint8Array {
  if (name.endsWith('.pkl')) return draw.chance(0.8) ? mutatePickle(draw, bytes) : mutateBytes(draw, bytes);
  if (draw.chance(0.7) && bytes.length > 0) return bytes.with(draw.int(0, bytes.length - 1), draw.int(0, 255));
  return mutateBytes(draw, bytes);
}

function pickleFormats(): Record<string, Format> {
  const zips = [
    ...['zip', 'newer', 'newer_protocol5', 'zip_protocol4', 'tensor', 'big_endian'].map(
      (name) => `io/torch_${name}.pth`,
    ),
    ...['arguments_protocol4', 'attributes', 'lightning_ema', 'compiled_ddp', 'own_class', 'timm', 'integers'].map(
      (name) => `checkpoints/${name}.pth`,
    ),
  ].map(fixture);
  const legacy = ['legacy', 'python2'].map((name) => fixture(`io/torch_${name}.pth`));
  const storages: ZipMember[] = ['0', '1'].map((key) => ({ name: `a/data/${key}`, bytes: Buffer.alloc(16) }));
  const read = async (folder: string) => {
    const path = join(folder, 'x.pth');
    const tree: TorchValue = await readPth(path);
    const flat = flattenTorch(tree);
    unflattenTorch(path, flat.tensors, flat.tree);
    await inspectFile(path);
  };
  return {
    'pth zip': {
      whole: { 'x.pth': zips[0] },
      mutate: (draw) => ({
        'x.pth': mutateZip(draw, draw.pick(zips), ({ name, bytes }) => inner(draw, name, bytes), true),
      }),
      read,
      command: ['inspect', 'x.pth'],
    },
    'pth of random pickles': {
      whole: { 'x.pth': zipOf([{ name: 'a/data.pkl', bytes: Buffer.from('\x80\x02}.', 'latin1') }]) },
      mutate: (draw) => ({ 'x.pth': zipOf([{ name: 'a/data.pkl', bytes: randomPickle(draw) }, ...storages]) }),
      read,
      command: ['inspect', '--json', 'x.pth'],
    },
    'pth legacy': {
      whole: { 'x.pth': legacy[0] },
      mutate: (draw) => ({ 'x.pth': mutateLegacy(draw, draw.pick(legacy)) }),
      read,
      command: ['inspect', 'x.pth'],
    },
  };
}

function mutateLegacy(draw: Draw, file: Bytes): Bytes {
  const parts: Bytes[] = [];
  let end = 0;
  for (let count = 0; count < 5; count++) {
    const start = end;
    end = operationsOf(file, start).end;
    parts.push(file.subarray(start, end));
  }
  const rest = Buffer.from(file.subarray(end));
  const borders = parts.map((_, i) => parts.slice(0, i + 1).reduce((sum, { length }) => sum + length, 0));
  const which = draw.pick([0, 1, 2, 3, 3, 3, 3, 4]);
  return draw.oneOf<Bytes>([
    [6, () => Buffer.concat([...parts.with(which, mutatePickle(draw, parts[which])), rest])],
    [2, () => Buffer.concat([...parts.with(3, randomPickle(draw)), rest])],
    [
      2,
      () => Buffer.concat([...parts, writeBorder(draw, rest, draw.pick([0, draw.int(0, rest.length)]), 8, 'little')]),
    ],
    [3, () => Buffer.concat([...parts, rest.with(draw.int(8, rest.length - 1), 1)])],
    [1, () => Buffer.concat([...parts, rest, draw.bytes(8)])],
    [1, () => truncate(draw, file, [...borders, end + 8])],
    [1, () => Buffer.concat([...parts.toSpliced(which, 1), rest])],
    [1, () => mutateBytes(draw, file)],
  ]);
}

async function imageFormats(): Promise<Record<string, Format>> {
  const pngs = ['rgb', 'rgba', 'grey', 'grey16', 'palette', 'bits'].map((name) => fixture(`io/${name}.png`));
  const images = ['0.jpg', '1.png', '2.webp', '3.jpg'].map((name) => fixture(`images/${name}`));
  const { default: sharp } = await import('sharp');
  const picture = sharp({ create: { width: 12, height: 9, channels: 3, background: '#a05030' } });
  for (const orientation of [3, 6])
    images.push(Buffer.from(await picture.clone().withMetadata({ orientation }).jpeg().toBuffer()));
  images.push(Buffer.from(await picture.clone().jpeg({ progressive: true }).toBuffer()));
  images.push(Buffer.from(await picture.clone().webp({ lossless: true }).toBuffer()));
  const mutateImage = (draw: Draw): Bytes => {
    const image = draw.pick(images);
    if (image[0] === 0x89) return mutatePng(draw, image);
    return draw.chance(0.5) ? mutateSegments(draw, image) : mutateBytes(draw, image, 2);
  };
  const opened = async (root: string) => {
    const dataset = await openImageFolder(root, { part: 'train', size: 8, channels: 3, tolerated: 0 });
    await dataset.load(Int32Array.from({ length: dataset.count }, (_, i) => i));
  };
  const good = images[0];
  return {
    png: {
      whole: { 'x.png': pngs[0] },
      mutate: (draw) => ({ 'x.png': mutatePng(draw, draw.pick(pngs)) }),
      read: async (folder) => {
        const { width, height, channels, data } = await readPng(join(folder, 'x.png'));
        if (data.length !== width * height * channels) throw new Error('shape and pixels differ');
      },
    },
    images: {
      whole: { 'a/0.jpg': images[0], 'a/1.png': images[1], 'a/2.webp': images[2] },
      mutate: (draw) => {
        const image = mutateImage(draw);
        return { 'a/0.jpg': image, 'a/1.png': image };
      },
      read: (folder) => opened(join(folder, 'a')),
      command: [
        'stats',
        '--config',
        'digits',
        '--config.data.dataset',
        'FOLDER',
        '--config.data.root_path',
        'a',
        '--config.eval.features',
        'pixels',
        '--out',
        'y.npz',
      ],
      leaves: /^y\.npz$/,
    },
    'image folders': {
      whole: { 'a/0.jpg': good, 'a/b/1.jpg': good, 'a/c': { link: 'b' } },
      mutate: (draw) => {
        const files: Files = {};
        for (let left = draw.int(0, 5); left > 0; left--) {
          const name = draw.pick([
            '0',
            '1',
            '._2',
            '.3',
            'ü',
            'a\nb',
            '\x1b[31m4',
            `${'9'.repeat(80)}`,
            '__MACOSX/5',
            'b/6',
            'b/c/7',
            '-8',
          ]);
          const ending = draw.pick(['.jpg', '.JPG', '.png', '.txt', '', '.jpg.webp']);
          const links = ['.', '..', 'nowhere', '../a', '/dev/null', '/dev/zero', '0.jpg', 'b'];
          files[`a/${name}${ending}`] = draw.oneOf<Content>([
            [6, () => good],
            [1, () => mutateImage(draw)],
            [1, () => new Uint8Array(0)],
            [2, () => ({ link: draw.pick(links) })],
            [1, () => null],
          ]);
        }
        return { a: null, ...files };
      },
      read: (folder) => opened(join(folder, 'a')),
    },
  };
}

/** The segments of a JPEG or the chunks of a WebP: their lengths, their order, and EXIF in place of one. */
function mutateSegments(draw: Draw, file: Bytes): Bytes {
  const bytes = Buffer.from(file);
  const starts: number[] = [];
  if (bytes[0] === 0xff)
    for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda; ) {
      starts.push(at);
      at += 2 + bytes.readUInt16BE(at + 2);
    }
  else for (let at = 12; at + 8 <= bytes.length; at += 8 + ((bytes.readUInt32LE(at + 4) + 1) & ~1)) starts.push(at);
  if (starts.length === 0) return mutateBytes(draw, bytes);
  const at = draw.pick(starts);
  const next = starts[starts.indexOf(at) + 1] ?? bytes.length;
  const isJpeg = bytes[0] === 0xff;
  const exif = Buffer.from(
    `\xff\xe1\0\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0${String.fromCharCode(draw.int(0, 9))}\0\0\0\0\0\0`,
    'latin1',
  );
  return draw.oneOf<Bytes>([
    [2, () => writeBorder(draw, bytes, at + (isJpeg ? 2 : 4), isJpeg ? 2 : 4)],
    [2, () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(next)])],
    [2, () => Buffer.concat([bytes.subarray(0, next), bytes.subarray(at)])],
    [3, () => (isJpeg ? Buffer.concat([bytes.subarray(0, 2), exif, bytes.subarray(2)]) : bytes)],
    [
      2,
      () =>
        Buffer.concat([bytes.subarray(0, at), mutateBytes(draw, bytes.subarray(at, next), 1), bytes.subarray(next)]),
    ],
    [1, () => truncate(draw, bytes, starts)],
    [1, () => writeBorder(draw, bytes, draw.int(0, Math.min(bytes.length, 200)), 2)],
  ]);
}

function dataFormats(): Record<string, Format> {
  const lsun = fixture('lsun/church_outdoor_train_lmdb/data.mdb');
  const small = lmdbOf([
    ['a', fixture('images/0.jpg')],
    ['b', fixture('images/2.webp')],
    ['c', new Uint8Array(5000)],
  ]);
  const tars = ['ustar', 'gnu', 'pax'].map((name) => fixture(`io/tar_${name}.tar.gz`));
  const batch = gunzipSync(fixture('io/cifar_python3.tar.gz'));
  const pickled = Buffer.from(batch.subarray(512, 512 + 30_741_824));
  const digits = fixture('../../assets/digits/digits.csv.gz');
  const table = gunzipSync(digits).toString('latin1');
  const header = (shape: readonly number[], type = 8, rank = shape.length) => {
    const bytes = Buffer.alloc(4 + 4 * shape.length);
    bytes.set([0, 0, type, rank]);
    for (const [i, dim] of shape.entries()) bytes.writeUInt32BE(dim, 4 + 4 * i);
    return bytes;
  };
  const idx = (draw: Draw, shape: readonly number[]): Bytes => {
    const size = shape.reduce((a, b) => a * b, 1);
    const plain = () => Buffer.concat([header(shape), draw.bytes(size)]);
    return draw.oneOf<Bytes>([
      [8, plain],
      [1, () => Buffer.concat([header(shape, draw.int(0, 14)), draw.bytes(size)])],
      [1, () => Buffer.concat([header(shape, 8, draw.int(0, 5)), draw.bytes(size)])],
      [1, () => Buffer.concat([plain(), draw.bytes(draw.int(1, 3))])],
      [2, () => writeBorder(draw, plain(), 4 * draw.int(1, shape.length), 4, 'big')],
      [1, () => truncate(draw, plain(), [3, 4, 8, 12, 16])],
      [1, () => mutateBytes(draw, plain())],
    ]);
  };
  const mnist = ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte'];
  const cifarBytes = 10_000 * 3073;
  return {
    lmdb: {
      whole: { 'data.mdb': small },
      mutate: (draw) => ({ 'data.mdb': mutateLmdb(draw, draw.pick([small, lsun])) }),
      read: async (folder) => {
        using database = await openLmdb(folder);
        for (let i = 0; i < database.count; i++) {
          database.key(i);
          database.value(i);
        }
        using dataset = await openLsun(folder, { part: 'train', size: 8, channels: 3 });
        await dataset.load(Int32Array.of(0));
      },
      command: statisticsOf('LSUN'),
      leaves: /^y\.npz$/,
    },
    idx: {
      whole: {
        [mnist[0]]: Buffer.concat([header([2, 3, 3]), Buffer.alloc(18)]),
        [mnist[1]]: Buffer.concat([header([2]), Buffer.alloc(2)]),
      },
      mutate: (draw) => {
        const [count, height, width] = [draw.int(0, 4), draw.int(0, 5), draw.int(1, 5)];
        const files: Files = {};
        for (const [i, shape] of [[count, height, width], [draw.chance(0.9) ? count : 5]].entries()) {
          const plain = idx(draw, shape);
          const packed = draw.chance(0.5);
          files[packed ? `${mnist[i]}.gz` : mnist[i]] = packed ? mutateGzip(draw, plain) : plain;
        }
        return files;
      },
      read: async (folder) => {
        const dataset = await loadMnist(folder, 'train');
        await dataset.load(Int32Array.of(0, dataset.count - 1));
      },
      command: statisticsOf('MNIST'),
      leaves: /^y\.npz$/,
    },
    'cifar binary': {
      whole: { 'test_batch.bin': { start: new Uint8Array(0), length: cifarBytes } },
      mutate: (draw) => ({
        'test_batch.bin': {
          start: draw.chance(0.6)
            ? draw.bytes(100).map((byte, i) => (i === 0 ? byte % 12 : byte))
            : mutateBytes(draw, Buffer.alloc(3073)),
          length: draw.chance(0.7)
            ? cifarBytes
            : draw.pick([0, 1, 3073, cifarBytes - 1, cifarBytes + 1, 2 * cifarBytes, 2 ** 40]),
        },
      }),
      read: (folder) => loadCifar10(folder, 'heldOut'),
    },
    'cifar pickle': {
      whole: { test_batch: pickled },
      mutate: (draw) => ({
        test_batch: draw.oneOf<Uint8Array>([
          [5, () => mutatePickle(draw, pickled)],
          [3, () => pickled.with(draw.int(2 ** 20, 2 ** 24), draw.int(0, 127))],
          [2, () => randomPickle(draw)],
          [1, () => truncate(draw, pickled, [0, 2, 1000, 2 ** 20])],
        ]),
      }),
      read: async (folder) => {
        decodePickledBatch(new Uint8Array(readFileSync(join(folder, 'test_batch'))), join(folder, 'test_batch'));
        await loadCifar10(folder, 'heldOut');
      },
    },
    'tar.gz': {
      whole: { 'x.tar.gz': tars[0] },
      mutate: (draw) => ({ 'x.tar.gz': mutateTar(draw, draw.pick(tars)) }),
      read: async (folder) => {
        for await (const file of tarGzFiles(join(folder, 'x.tar.gz'), () => true, 2 ** 20)) void file;
      },
    },
    'cifar tar.gz': {
      whole: { 'cifar-10-python.tar.gz': gzipSync(batch, { level: 1 }) },
      mutate: (draw) => ({ 'cifar-10-python.tar.gz': mutateTar(draw, fixture('io/cifar_python3.tar.gz')) }),
      read: (folder) => loadCifar10(folder, 'heldOut'),
    },
    digits: {
      whole: { 'x.csv.gz': digits },
      mutate: (draw) => {
        const at = draw.int(0, table.length - 1);
        const text = draw.oneOf<string>([
          [5, () => `${table.slice(0, at)}${table.slice(at).replace(/\d/, '1')}`],
          [1, () => table.slice(0, at)],
          [2, () => `${table.slice(0, at)}${draw.pick(['x', '17', ',', '\n', '-1', ''])}${table.slice(at + 1)}`],
          [1, () => `${table}\n`],
        ]);
        return { 'x.csv.gz': mutateGzip(draw, Buffer.from(text, 'latin1')) };
      },
      read: async (folder) => parseDigits(readFileSync(join(folder, 'x.csv.gz')), join(folder, 'x.csv.gz')),
    },
  };
}

function mutateLmdb(draw: Draw, file: Uint8Array): Bytes {
  const bytes = Buffer.from(file);
  const page = bytes.readUInt32LE(40);
  for (let changes = draw.int(1, 2); changes > 0; changes--) {
    const number = draw.int(0, Math.min(12, bytes.length / page - 1));
    const start = page * number;
    const nodes = Math.max(0, (bytes.readUInt16LE(start + 12) - 16) >> 1);
    const node = () => start + bytes.readUInt16LE(start + 16 + 2 * draw.int(0, Math.min(200, Math.max(0, nodes - 1))));
    const at = draw.oneOf<number>([
      [2, () => draw.int(0, bytes.length - 9)],
      [3, () => (number < 2 ? start + 16 + 4 * draw.int(0, 34) : start + 2 * draw.int(0, 7))],
      [1, () => start + 16 + 2 * draw.int(0, 20)],
      [2, () => node() + draw.int(0, 12)],
    ]);
    const size = draw.pick([2, 2, 4, 8]);
    if (at + size > bytes.length) continue;
    if (draw.chance(0.5)) writeBorder(draw, bytes, at, size, 'little');
    else bytes.writeUInt16LE(draw.pick([1, 2, 3, 4, 8, 16, 18, draw.int(0, page)]), at);
  }
  return draw.chance(0.06) ? truncate(draw, bytes, [16, 40, page, 2 * page, bytes.length - page]) : bytes;
}

async function pairFormats(): Promise<Record<string, Format>> {
  const stores: Files[] = [];
  for (const plan of [
    { layout: 'shards', dtype: 'f32' },
    { layout: 'shards', dtype: 'u16', range: [-1.5, 1.5] },
    { layout: 'official', dtype: 'f32' },
    { layout: 'shards', dtype: 'f16' },
  ] as const)
    stores.push(filesBelow(await makePairs({ ...plan, count: 10, batch: 4, shape: [3, 4, 4] }), 'pairs'));
  const [, , official] = stores;
  const bare = Object.fromEntries(Object.entries(official).filter(([name]) => !name.endsWith('.json')));
  const mutateStore = (draw: Draw): Files => {
    const store = { ...draw.pick([...stores, bare]) };
    const all = Object.keys(store);
    for (let changes = draw.int(1, 2); changes > 0; changes--) {
      const name = draw.chance(0.6) ? (all.find((one) => one.endsWith('manifest.json')) ?? all[0]) : draw.pick(all);
      const bytes = store[name];
      if (!(bytes instanceof Uint8Array)) continue;
      const data = draw.pick(all.filter((one) => one.endsWith('.npy')));
      draw.oneOf<unknown>([
        [
          8,
          () =>
            Object.assign(store, {
              [name]: name.endsWith('.json') ? mutateManifest(draw, bytes) : mutateNpy(draw, bytes),
            }),
        ],
        [1, () => delete store[name]],
        [1, () => Object.assign(store, { [data]: store[draw.pick(all)] })],
        [1, () => Object.assign(store, { 'pairs/8/z0.npy': bytes })],
        [1, () => renameFolder(store, draw.pick(['-1', 'a b', 'a\nb', '\x1b[31m', '\u202e7', '7'.repeat(200)]))],
        [
          1,
          () =>
            Object.assign(store, {
              [`pairs/${draw.pick(['9', 'x', '-1', '7\n'])}`]: draw.pick<Content>([
                null,
                bytes,
                { link: '7' },
                { link: '..' },
              ]),
            }),
        ],
        [
          1,
          () =>
            Object.assign(store, {
              'pairs/7/progress.jsonl': Buffer.from(draw.pick(['', '{}\n', '{"sha256":"x"}\n', '\0\0'])),
            }),
        ],
      ]);
    }
    return store;
  };
  return {
    pairs: {
      whole: stores[0],
      mutate: mutateStore,
      read: async (folder) => {
        const root = join(folder, 'pairs');
        await checkPairs(root);
        const set = await PairSet.open(root);
        try {
          await set.load(Int32Array.of(0, set.count - 1));
          await refuseBroken(set, root, 1);
        } finally {
          await set.close();
        }
      },
      command: ['pairs', 'pairs'],
    },
  };
}

function renameFolder(store: Files, name: string): void {
  for (const [path, content] of Object.entries(store)) {
    delete store[path];
    store[path.replace('pairs/7/', `pairs/${name}/`)] = content;
  }
}

/** A file that is already a mutant is changed as bytes. */
function mutateManifest(draw: Draw, bytes: Uint8Array): Bytes {
  const text = Buffer.from(bytes).toString();
  if (!/^\{\n {2}"format"/.test(text)) return mutateBytes(draw, bytes);
  return jsonFile(draw, JSON.parse(text), draw.pick([0.01, 0.03]));
}

/** The files below a folder, under another name. */
function filesBelow(root: string, as: string): Files {
  return Object.fromEntries(
    readdirSync(root, { recursive: true, encoding: 'utf8', withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        return [as + path.slice(root.length), new Uint8Array(readFileSync(path))];
      }),
  );
}

/** Configuration programs that misbehave in every way except running for ever. */
const modules = [
  'throw null',
  'throw "x\\ny\\x1b[31m"',
  'throw { message: 5 }',
  'throw new Error("a\\nrectiflow: all good\\n    at x (y.js:1:1)")',
  'throw new RangeError("")',
  'throw Object.assign(new Error("x"), { code: "ENOENT", syscall: "open" })',
  'export default null',
  'export default []',
  'export default 5',
  'export const x = 1',
  'export default () => ({})',
  'export default { base: 5 }',
  'export default { base: "nowhere" }',
  'export default { get seed() { throw "x"; } }',
  'export default { ["__proto__"]: { polluted: true } }',
  'export default JSON.parse(\'{"__proto__": {"polluted": true}}\')',
  'export default new Proxy({}, { ownKeys() { throw new TypeError("x"); } })',
  'const a = {}; a.model = a; export default a',
  'export default { model: { nf: 16n } }',
  'export default { seed: Symbol("x") }',
  'export default { model: new Map() }',
  'export default {',
  'import "./nowhere.mjs"; export default {}',
  'import "rectiflow-nowhere"; export default {}',
  'await Promise.reject(5); export default {}',
  'export default Promise.resolve({ seed: 2 })',
  'module.exports = { seed: 4 }',
  'export default { seed: 3 }',
  'export default { base: "digits", seed: NaN }',
  'export default { base: "digits", seed: 7 }',
  '\0',
  '\ufeffexport default { seed: 5 }',
];

function textFormats({ config: whole, checkpoint }: Owned): Record<string, Format> {
  const { seed, optim, model, data, training, reflow, sampling } = whole;
  const table = {
    ...{ base: 'digits', seed, optim, data: { dataset: data.dataset, image_size: data.image_size } },
    ...{ model: { nf: model.nf, ch_mult: model.ch_mult, dropout: model.dropout, conditional: true } },
    ...{ training: { n_iters: training.n_iters }, reflow: { reflow_type: reflow.reflow_type } },
    ...{ sampling: { sample_N: sampling.sample_N }, eval: { num_samples: 5 } },
  };
  const rate = (scale: number) => [0, 1].map((a) => [0, 1].map((b) => [1, 2].map((c) => scale * (a + b + c))));
  const tuning = {
    origin: { cpu: 'x', device: 'cpu', created: 'now' },
    tiles: [1, 4],
    channels: [8, 16],
    rates: Object.fromEntries(
      convPasses.map((pass) => [pass, Object.fromEntries(algorithms.map((name, i) => [name, rate(i + 1)]))]),
    ),
  };
  const lines = Array.from({ length: 12 }, (_, step) => ({ step, loss: 1 / (step + 1), lr: 1e-3 }));
  return {
    'configuration (.json)': {
      whole: { 'x.json': json(table), 'y.json': json({ base: './x.json' }) },
      mutate: (draw) => ({ 'x.json': jsonFile(draw, table), 'y.json': jsonFile(draw, { base: './x.json' }) }),
      read: async (folder) => {
        await loadConfig(join(folder, 'x.json'));
        await loadConfig(join(folder, 'y.json'));
      },
      command: ['train', '--config', 'x.json', '--workdir', 'w', '--dry-run'],
    },
    'configuration (.js, .ts)': {
      whole: { 'whole.mjs': Buffer.from('export default { base: "digits" }') },
      mutate: (draw) => {
        // A module runs only once under each name.
        const name = `m${draw.int(0, 2 ** 40)}.${draw.pick(['mjs', 'ts', 'mts', 'js'])}`;
        const program = Buffer.from(draw.pick(modules));
        return { [name]: draw.chance(0.9) ? program : mutateBytes(draw, program, 1) };
      },
      read: async (folder) => {
        for (const name of readdirSync(folder)) await loadConfig(join(folder, name));
      },
    },
    'tuning table': {
      whole: { 'x.json': json(tuning), 'c.safetensors': checkpoint },
      mutate: (draw) => ({
        'x.json': jsonFile(draw, tuning, draw.pick([0.005, 0.01, 0.05])),
        'c.safetensors': checkpoint,
      }),
      read: (folder) => readTuning(join(folder, 'x.json')),
      command: [
        'sample',
        '--checkpoint',
        'c.safetensors',
        '--num',
        '1',
        '--steps',
        '1',
        '--sampler',
        'euler',
        '--out',
        'y.npy',
      ],
      environment: { RECTIFLOW_TUNING: 'x.json' },
      leaves: /^y\.npy$/,
    },
    'log.jsonl': {
      whole: { 'log.jsonl': Buffer.from(lines.map((line) => JSON.stringify(line)).join('\n')) },
      mutate: (draw) => {
        const text = lines
          .map((line) => jsonText(mutateJson(draw, line, 0.05)))
          .join(draw.pick(['\n', '\n', '\r\n', '\n\n']));
        return { 'log.jsonl': draw.chance(0.7) ? Buffer.from(text) : mutateBytes(draw, Buffer.from(text)) };
      },
      read: async (folder) => {
        const path = join(folder, 'log.jsonl');
        for (const { step, loss } of await readLog(path))
          if (!Number.isSafeInteger(step) || !Number.isFinite(loss))
            throw new Error(`holds step ${step}, loss ${loss}`);
        const log = await StepLog.open(path, 5);
        await log.write({ step: 5, loss: 1 });
        await log.close();
        const steps = (await readLog(path)).map(({ step }) => step);
        if (steps.at(-1) !== 5 || steps.slice(0, -1).some((step) => step >= 5)) throw new Error(`holds ${steps}`);
      },
    },
  };
}

function runFormats({ checkpoint, config, device }: Owned): Record<string, Format> {
  const rows = [{ checkpoint: 'w/checkpoints/checkpoint_1.safetensors', step: 3, loss: { loss: 1, images: 4 } }];
  const best = {
    checkpoint: 'checkpoints/checkpoint_1.safetensors',
    step: 3,
    score: `loss over 4 images, seed ${config.seed}`,
    value: 0.5,
  };
  const owner = newOwner();
  const owners = [
    {},
    { pid: 2 ** 22 + 5 },
    { host: 'elsewhere', boot: 'x', space: '1' },
    { start: '-' },
    { boot: '-' },
  ];
  const library = Buffer.from('\x7fELF and no more', 'latin1');
  const sum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
  const run = {
    ...{ checkpoint: 'x', sha256: sum(checkpoint), batch_size: config.eval.batch_size, sampling: config.sampling },
    ...{ seed: config.seed, nfe: [1, 1], left_out: [0, 0] },
  };
  const samples = (count: number) =>
    zipOf([
      {
        name: 'samples.npy',
        bytes: Buffer.from(encodeNpy({ shape: [count, 8, 8, 1], dtype: 'u8', data: new Uint8Array(64 * count) })),
      },
    ]);
  const drawn = `euler-1-${config.seed}`;
  const network = buildModel(config, device);
  const workdir: Files = {
    'w/config.json': json(config),
    'w/checkpoints/checkpoint_1.safetensors': checkpoint,
    'w/checkpoints-meta/state_3.safetensors': checkpoint,
  };
  return {
    'best.json': {
      whole: { 'w/eval/best.json': json(best), 'w/checkpoints/checkpoint_1.safetensors': new Uint8Array(1) },
      mutate: (draw) => ({
        'w/eval/best.json': jsonFile(draw, best, 0.1),
        'w/checkpoints/checkpoint_1.safetensors': new Uint8Array(1),
      }),
      read: async (folder) => {
        const root = join(folder, 'w');
        await keepBest(
          root,
          config,
          rows.map((row) => ({ ...row, checkpoint: join(folder, row.checkpoint) })) as unknown as Parameters<
            typeof keepBest
          >[2],
        );
        const kept = JSON.parse(readFileSync(join(root, 'eval/best.json'), 'utf8'));
        if (!Number.isFinite(kept.value) || !Number.isSafeInteger(kept.step))
          throw new Error(`keeps ${JSON.stringify(kept)}`);
      },
    },
    'run.json': {
      whole: { [`d/${drawn}/run.json`]: json(run), 'x.safetensors': checkpoint },
      mutate: (draw) => ({
        [`d/${drawn}/run.json`]: jsonFile(draw, run, draw.pick([0.02, 0.1])),
        [`d/${drawn}/samples_0.npz`]: draw.chance(0.5)
          ? samples(2)
          : mutateZip(draw, samples(2), ({ bytes }) => mutateNpy(draw, bytes), true),
        [`d/${drawn}/samples_${draw.pick(['1', '7', 'x', '01'])}.npz`]: samples(1),
        'x.safetensors': checkpoint,
      }),
      read: async (folder) => {
        const { nfe, count } = await drawSamples(network, config, {
          ...{ folder: join(folder, 'd'), checkpoint: join(folder, 'x.safetensors'), device, files: 'samples' },
        } as Parameters<typeof drawSamples>[2]);
        if (!(nfe >= 0 && nfe < 1e9) || !(count >= 0 && count <= 3))
          throw new Error(`says ${nfe} evaluations of ${count}`);
      },
      leaves: /^d\/euler-1-\d+\/samples_\d\.npz$/,
    },
    'work directory': {
      whole: workdir,
      mutate: (draw) => {
        const name = draw.pick(Object.keys(workdir));
        const odd = draw.pick([
          'checkpoint_1.pth',
          'checkpoint-1.safetensors',
          'checkpoint_9999999999999999.safetensors',
          'checkpoint_2.safetensors',
          'a\nb',
        ]);
        return {
          ...workdir,
          [name]: name.endsWith('.json') ? jsonFile(draw, config, 0.01) : mutateSafetensors(draw, checkpoint),
          ...(draw.chance(0.3) && {
            [`w/checkpoints/${odd}`]: draw.pick<Content>([checkpoint, null, { link: 'nowhere' }, { link: odd }]),
          }),
          ...(draw.chance(0.3) && {
            [`w/checkpoints-meta/state_${draw.pick(['4', '99999999999999999999', '-1', 'x'])}.safetensors`]:
              draw.pick<Content>([checkpoint, new Uint8Array(3)]),
          }),
        };
      },
      read: async (folder) => {
        const root = join(folder, 'w');
        await numberedCheckpoints(join(root, 'checkpoints'));
        await stageFolder(root, { name: 'train' }, 'sibling', () => {});
        const { flows } = await reportedFlows(root);
        await loadCheckpoint(flows[0].checkpoint);
      },
    },
    lock: {
      whole: { lock: Buffer.from('') },
      mutate: (draw) => {
        const line = `${ownerLine({ ...owner, ...draw.pick(owners) })}000000000007\n`;
        return {
          lock: draw.oneOf<Content>([
            [3, () => Buffer.from(line)],
            [4, () => mutateBytes(draw, Buffer.from(line))],
            [1, () => Buffer.from(line.slice(0, draw.int(0, line.length)))],
            [1, () => Buffer.alloc(draw.pick([0, 40, 1024, 1025, 1e6]))],
            [1, () => Buffer.from(line.replace(/ \S+/, ` ${draw.pick([...dims, ...names])}`))],
            [1, () => draw.pick<Content>([null, { link: 'lock' }, { link: '/dev/zero' }])],
          ]),
        };
      },
      read: async (folder) => {
        Object.assign(lockTiming, { beat: 10_000, silence: 6, look: 2, written: 4 });
        const release = await lockFolder(folder);
        await release();
      },
    },
    'kernel cache': {
      whole: { 'k.so': library, 'k.sum': Buffer.from(sum(library)) },
      mutate: (draw) => {
        const bytes = draw.chance(0.5) ? library : mutateBytes(draw, library);
        const other = draw.chance(0.7) ? bytes : library;
        return {
          'k.so': draw.chance(0.9) ? bytes : draw.pick<Content>([null, { link: 'k.sum' }, new Uint8Array(0)]),
          'k.sum': draw.oneOf<Content>([
            [4, () => Buffer.from(`${sum(other)}${draw.pick(['', '\n', ' '])}`)],
            [1, () => mutateBytes(draw, Buffer.from(sum(other)))],
            [1, () => draw.pick<Content>([null, { link: 'k.so' }, new Uint8Array(0), Buffer.alloc(1e5)])],
          ]),
        };
      },
      read: async (folder) => {
        const cache = new KernelCache(folder);
        if (cache.reason) throw new Error(cache.reason);
        const text = () => readFileSync(join(folder, 'k.sum'), 'utf8').trim();
        const found = cache.find('k');
        // No library is loaded here; only its checksum is verified.
        if (found === undefined) throw new Refusal('is not in the cache');
        if (sum(readFileSync(found)) !== text()) throw new Error('a binary of another sum is found');
      },
    },
    'event files': {
      whole: { 'events.out.tfevents.1.x': new Uint8Array(8) },
      mutate: (draw) =>
        Object.fromEntries(
          Array.from({ length: draw.int(1, 3) }, () => [
            `events.out.tfevents.${draw.pick(['1', '4000000000', '99999999999999999999', 'x', '-1', '1e9', '٣', '2000000000'])}.${draw.pick(['x', 'y.1', 'a\nb'])}`,
            draw.chance(0.8) ? draw.bytes(draw.int(0, 40)) : null,
          ]),
        ),
      read: async (folder) => {
        const file = await EventFile.open(folder, 1);
        await file.scalars(1, { loss: 1 });
        await file.close();
        const names = readdirSync(folder).filter((name) => /^events\.out\.tfevents\.\d{10}\./.test(name));
        if (names.sort().at(-1) !== basename(file.path)) throw new Error('the new file is not the last');
      },
      leaves: /^events\.out\.tfevents\.\d+\./,
    },
  };
}

/** The error for a reader that refuses by returning undefined. */
export class Refusal extends Error {}

/** A command line that reads the data set in its working directory. */
function statisticsOf(dataset: string): string[] {
  return `stats --config digits --config.data.dataset ${dataset} --config.data.root_path . --config.eval.features pixels --out y.npz`.split(
    ' ',
  );
}
