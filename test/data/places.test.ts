// MNIST and CIFAR-10 in their usual places: in the folders that torchvision, browsers and other programs leave, under
// upper-case names; and the errors if they are missing.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadCifar10, loadMnist } from '../../src/data/index.ts';
import { FileError } from '../../src/errors.ts';
import { loadDataset } from '../../src/run/index.ts';
import { configWith } from '../support/config.ts';

type Files = Record<string, Uint8Array>;

function rootOf(files: Files): string {
  const root = mkdtempSync(join(tmpdir(), 'rectiflow-places-'));
  onTestFinished(() => rmSync(root, { recursive: true }));
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), bytes);
  }
  return root;
}

function idx(shape: number[], data: number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * shape.length);
  bytes.set([0, 0, 8, shape.length]);
  for (const [i, dim] of shape.entries()) bytes.writeUInt32BE(dim, 4 + 4 * i);
  return Buffer.concat([bytes, Buffer.from(data)]);
}
/** An IDX file of two images, every pixel of which is `value`. */
const imagesOf = (value: number) => idx([2, 1, 2], [value, value, value, value]);
const labels = idx([2], [7, 2]);
const pair = (images: string, labelled: string, value = 5): Files => ({
  [images]: imagesOf(value),
  [labelled]: labels,
});
const packed = (files: Files): Files =>
  Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${name}.gz`, gzipSync(bytes)]));
const below = (folder: string, files: Files): Files =>
  Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`${folder}/${name}`, bytes]));

const official = pair('train-images-idx3-ubyte', 'train-labels-idx1-ubyte');
const dotted = pair('train-images.idx3-ubyte', 'train-labels.idx1-ubyte');

describe('MNIST', () => {
  it.each<[string, Files, string]>([
    ['the folder itself', official, ''],
    ['with a dot', dotted, ''],
    ['packed', packed(official), ''],
    ['packed, with a dot', packed(dotted), ''],
    ["torchvision's root", below('MNIST/raw', official), ''],
    ["torchvision's root, packed", below('MNIST/raw', packed(official)), ''],
    ["torchvision's MNIST", below('MNIST/raw', official), 'MNIST'],
    ["torchvision's raw", below('MNIST/raw', official), 'MNIST/raw'],
    ['FashionMNIST by its name', below('FashionMNIST/raw', official), 'FashionMNIST'],
    ['the folder above', below('MNIST', official), ''],
    ['folders in capitals', below('mnist/RAW', official), ''],
    ['files in capitals', pair('TRAIN-IMAGES-IDX3-UBYTE', 'Train-Labels-idx1-ubyte'), ''],
    ['packed, in capitals', packed(pair('TRAIN-IMAGES.IDX3-UBYTE', 'TRAIN-LABELS.IDX1-UBYTE')), ''],
    [
      'a folder around each file, as some programs unpack .gz',
      pair('train-images-idx3-ubyte/train-images-idx3-ubyte', 'train-labels-idx1-ubyte/train-labels.idx1-ubyte'),
      '',
    ],
    [
      'such folders next to the files',
      { ...dotted, ...pair('train-images-idx3-ubyte/other', 'train-labels-idx1-ubyte/other', 9) },
      '',
    ],
    ['AppleDouble files next to them', { ...official, '._train-images-idx3-ubyte': Buffer.from('Mac OS X') }, ''],
  ])('%s', async (_, files, root) => {
    const set = await loadMnist(join(rootOf(files), root), 'train');
    expect(set).toMatchObject({ count: 2, height: 1, width: 2, labels: Int32Array.of(7, 2) });
    expect([...(await set.load(Int32Array.of(1)))]).toEqual([5, 5]);
  });

  it('symbolic links to files and folders', async () => {
    const store = rootOf(official);
    const root = rootOf({});
    symlinkSync(store, join(root, 'MNIST'));
    expect((await loadMnist(root, 'train')).count).toBe(2);
    const links = rootOf({});
    for (const name of Object.keys(official)) symlinkSync(join(store, name), join(links, name));
    expect((await loadMnist(links, 'train')).count).toBe(2);
  });

  it('prefers the exact spelling of a name, and MNIST over similar data sets', async () => {
    const root = rootOf({ ...official, ...pair('TRAIN-images-idx3-ubyte', 'TRAIN-labels-idx1-ubyte', 9) });
    expect([...(await (await loadMnist(root, 'train')).load(Int32Array.of(0)))]).toEqual([5, 5]);
    const beside = pair('FashionMNIST/raw/train-images-idx3-ubyte', 'FashionMNIST/raw/train-labels-idx1-ubyte', 9);
    const both = rootOf({ ...below('MNIST/raw', official), ...beside });
    expect([...(await (await loadMnist(both, 'train')).load(Int32Array.of(0)))]).toEqual([5, 5]);
  });

  it('reports whether the folder exists, and the files it looked for', async () => {
    const refusal = async (root: string) => (await loadMnist(root, 'heldOut').catch((error) => error)) as Error;
    const sought =
      't10k-images-idx3-ubyte, t10k-images-idx3-ubyte.gz, t10k-images.idx3-ubyte, t10k-images.idx3-ubyte.gz, ' +
      'in itself or in MNIST/raw, raw, MNIST; use --config.data.root_path to give';
    const root = rootOf(official);
    expect(await refusal(root)).toBeInstanceOf(FileError);
    expect((await refusal(root)).message).toBe(`${root}: holds none of ${sought} the folder`);
    const none = join(root, 'none');
    expect((await refusal(none)).message).toBe(
      `${none}: there is no such folder; it must contain ${sought} the folder`,
    );
    const file = join(root, 'train-images-idx3-ubyte');
    expect((await refusal(file)).message).toBe(`${file}: is a file; its folder must contain ${sought} the folder`);
    const fashion = rootOf(below('FashionMNIST/raw', pair('t10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte')));
    expect((await refusal(fashion)).message).toBe(
      `${fashion}: holds none of ${sought} another, such as ${join(fashion, 'FashionMNIST/raw')}`,
    );
  });

  it('names the missing labels if only the images exist', async () => {
    const root = rootOf(below('MNIST/raw', { 'train-images-idx3-ubyte': imagesOf(1) }));
    await expect(loadMnist(root, 'train')).rejects.toThrow(
      `${join(root, 'MNIST/raw')}: holds none of train-labels-idx1-ubyte, train-labels-idx1-ubyte.gz`,
    );
  });

  it('reads the folder given in the configuration', async () => {
    const root = rootOf(
      below('MNIST/raw', {
        'train-images-idx3-ubyte': idx([1, 2, 2], [1, 2, 3, 4]),
        'train-labels-idx1-ubyte': idx([1], [3]),
      }),
    );
    const keys = { 'data.dataset': 'MNIST', 'data.root_path': root, 'data.image_size': 2, 'data.num_channels': 1 };
    expect((await loadDataset(await configWith('base', keys), 'train')).count).toBe(1);
  });
});

describe('CIFAR-10', () => {
  /** Black images with the label of the batch. */
  const batch = (label: number) => {
    const bytes = Buffer.alloc(10_000 * 3073);
    for (let i = 0; i < 10_000; i++) bytes[i * 3073] = label;
    return bytes;
  };
  const held = batch(4);

  function tarGz(name: string, bytes: Uint8Array): Uint8Array {
    const header = Buffer.alloc(512);
    header.write(name);
    header.write(bytes.length.toString(8).padStart(11, '0'), 124);
    header.write(' '.repeat(8), 148);
    header.write('0', 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    const fill = Buffer.alloc((512 - (bytes.length % 512)) % 512);
    return gzipSync(Buffer.concat([header, bytes, fill, Buffer.alloc(1024)]), { level: 1 });
  }

  it.each<[string, () => Files, string]>([
    ['the folder above', () => ({ 'cifar-10-batches-bin/test_batch.bin': held }), ''],
    ['the folder itself', () => ({ 'cifar-10-batches-bin/test_batch.bin': held }), 'cifar-10-batches-bin'],
    ['in cifar10', () => ({ 'cifar10/cifar-10-batches-bin/test_batch.bin': held }), ''],
    ['in CIFAR-10', () => ({ 'CIFAR-10/test_batch.bin': held }), ''],
    ['names in capitals', () => ({ 'CIFAR-10-BATCHES-BIN/TEST_BATCH.BIN': held }), ''],
    ['an archive below', () => ({ 'CIFAR10/CIFAR-10-Binary.tar.gz': tarGz('a/test_batch.bin', held) }), ''],
    ['an archive itself, with upper-case names', () => ({ 'x.tgz': tarGz('A/TEST_BATCH.BIN', held) }), 'x.tgz'],
    ['a folder with the name of a batch', () => ({ 'test_batch.bin/x': held, 'cifar10/test_batch.bin': held }), ''],
  ])('%s', async (_, files, root) => {
    const { dataset } = await loadCifar10(join(rootOf(files()), root), 'heldOut');
    expect(dataset.count).toBe(10_000);
    expect(dataset.labels?.[9999]).toBe(4);
  });

  it('reports whether the folder exists, the files it looked for, and the configuration key', async () => {
    const refusal = async (root: string) => (await loadCifar10(root, 'heldOut').catch((error) => error)) as Error;
    const sought =
      'test_batch.bin, in itself or in cifar-10-batches-bin, or the same pickled (without .bin, cifar-10-batches-py), ' +
      'or cifar-10-binary.tar.gz or cifar-10-python.tar.gz; ' +
      'use --config.data.root_path to give another folder or an archive; without it CIFAR-10 is downloaded';
    const root = rootOf({ 'x.tar.gz': tarGz('other', Buffer.from('x')) });
    expect(await refusal(root)).toBeInstanceOf(FileError);
    expect((await refusal(root)).message).toBe(`${root}: holds none of ${sought}`);
    const none = join(root, 'none');
    expect((await refusal(none)).message).toBe(`${none}: there is no such folder; it must contain ${sought}`);
    const archive = join(root, 'x.tar.gz');
    expect((await refusal(archive)).message).toBe(`${archive}: holds none of ${sought}`);
  });
});
