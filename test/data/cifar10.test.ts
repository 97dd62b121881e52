// CIFAR-10 in each of its layouts, built from their definitions or by Python, and its download from a local server.
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, onTestFinished } from 'vitest';
import { downloadCifar10, loadCifar10 } from '../../src/data/index.ts';
import { FileError } from '../../src/errors.ts';
import { PickleWriter } from '../../src/io/torch/pickle_writer.ts';
import { fixture } from '../io/files.ts';

function folderOf(files: Record<string, Uint8Array> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-cifar10-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
  return folder;
}

// Red is the index of the image, green the row, blue the column.
const planes = new Uint8Array(10_000 * 3072);
for (let i = 0; i < 10_000; i++) for (let p = 0; p < 1024; p++) planes.set([i % 256], i * 3072 + p);
for (let i = 0; i < 10_000; i++)
  for (let p = 0; p < 1024; p++) {
    planes[i * 3072 + 1024 + p] = p >> 5;
    planes[i * 3072 + 2048 + p] = p & 31;
  }
const label = (i: number, first: number) => (i + first) % 10;

function binary(first: number): Uint8Array {
  const bytes = new Uint8Array(10_000 * 3073);
  for (let i = 0; i < 10_000; i++) {
    bytes[i * 3073] = label(i, first);
    bytes.set(planes.subarray(i * 3072, (i + 1) * 3072), i * 3073 + 1);
  }
  return bytes;
}

// The format of the official files, which Python 2 and NumPy 1 wrote.
function pickled(
  first: number,
  { labels = 10_000, shape = [10_000, 3072], type = 'u1', labelType = '' } = {},
): Uint8Array {
  const pickle = new PickleWriter();
  const text = (value: string) => pickle.bytes(Buffer.from(value));
  const numbers = (values: number[]) => pickle.tuple(() => values.forEach((value) => pickle.integer(value)));
  const array = (dims: number[], code: string, content: Uint8Array) => {
    pickle.call('numpy.core.multiarray', '_reconstruct', () => {
      pickle.global('numpy', 'ndarray');
      numbers([0]);
      text('b');
    });
    pickle.build(() =>
      pickle.tuple(() => {
        pickle.integer(1);
        numbers(dims);
        pickle.call('numpy', 'dtype', () => {
          text(code);
          pickle.integer(0);
          pickle.integer(1);
        });
        pickle.build(() =>
          pickle.tuple(() => {
            pickle.integer(3);
            text(code === 'u1' ? '|' : '<');
          }),
        );
        pickle.boolean(false);
        pickle.bytes(content);
      }),
    );
  };
  pickle.dictionary(() => {
    text('batch_label');
    text('training batch 1 of 5');
    text('labels');
    if (labelType)
      array([labels], labelType, Buffer.from(Int32Array.from({ length: labels }, (_, i) => label(i, first)).buffer));
    else
      pickle.list(() => {
        for (let i = 0; i < labels; i++) pickle.integer(label(i, first));
      });
    text('data');
    array(shape, type, planes);
  });
  return pickle.end();
}

function tarGz(files: Record<string, Uint8Array>): Uint8Array {
  const blocks = Object.entries(files).flatMap(([name, bytes]) => {
    const header = Buffer.alloc(512);
    header.write(name, 0);
    header.write(bytes.length.toString(8).padStart(11, '0'), 124);
    header.write(' '.repeat(8), 148);
    header.write('0', 156);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return [header, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]), { level: 1 });
}

describe('layouts', () => {
  const above = 'cifar-10-batches';
  it.each<[string, string, () => Record<string, Uint8Array>]>([
    ['the folder of the binary files', '.bin', () => ({ 'data_batch_4.bin': binary(3) })],
    ['the folder above', '.bin', () => ({ [`${above}-bin/data_batch_4.bin`]: binary(3) })],
    ['the folder of the pickled files', '', () => ({ data_batch_4: pickled(3) })],
    ['data of four axes', '', () => ({ data_batch_4: pickled(3, { shape: [10_000, 3, 32, 32] }) })],
    ['labels as an array', '', () => ({ data_batch_4: pickled(3, { labelType: 'i4' }) })],
    ['the folder above those', '', () => ({ [`${above}-py/data_batch_4`]: pickled(3) })],
    [
      'an archive',
      '.bin',
      () => ({ 'cifar-10-binary.tar.gz': tarGz({ 'a/x.html': planes, 'a/data_batch_4.bin': binary(3) }) }),
    ],
    ['an archive of pickled files', '', () => ({ 'cifar-10-python.tar.gz': tarGz({ data_batch_4: pickled(3) }) })],
  ])('reads %s', async (_, ending, files) => {
    const { dataset, missing } = await loadCifar10(folderOf(files()), 'train');
    expect(missing).toEqual([1, 2, 3, 5].map((i) => `data_batch_${i}${ending}`));
    expect(dataset).toMatchObject({ count: 10_000, height: 32, width: 32, channels: 3 });
    const image = await dataset.load(Int32Array.of(7));
    expect([...image.subarray((5 * 32 + 9) * 3, (5 * 32 + 9) * 3 + 3)]).toEqual([7, 5, 9]);
    expect(dataset.labels?.[7]).toBe(0);
  });

  it('orders the batches of an archive, whatever its name', async () => {
    const folder = folderOf({ 'x.tgz': tarGz({ 'data_batch_5.bin': binary(1), 'data_batch_2.bin': binary(0) }) });
    const { dataset, missing } = await loadCifar10(join(folder, 'x.tgz'), 'train');
    expect(missing).toEqual(['data_batch_1.bin', 'data_batch_3.bin', 'data_batch_4.bin']);
    expect([dataset.labels?.[0], dataset.labels?.[10_000]]).toEqual([0, 1]);
  });

  it('reads the held-out batch, and prefers binary files', async () => {
    const root = folderOf({ test_batch: pickled(1), 'cifar-10-batches-bin/test_batch.bin': binary(5) });
    expect((await loadCifar10(root, 'heldOut')).dataset.labels?.[0]).toBe(5);
  });

  it('reads files pickled and archived by Python 3', async () => {
    const { dataset } = await loadCifar10(fixture('cifar_python3.tar.gz'), 'heldOut');
    const image = await dataset.load(Int32Array.of(7));
    expect([...image.subarray(0, 6)]).toEqual([0, 1024 % 251, 2048 % 251, 1, 1025 % 251, 2049 % 251]);
    expect(dataset.labels?.[13]).toBe(3);
    expect((await dataset.load(Int32Array.of(6, 8))).every((pixel) => pixel === 0)).toBe(true);
  });

  it.each<[string, () => Record<string, Uint8Array>, RegExp]>([
    [
      'another pickle',
      () => ({ test_batch: Buffer.from('N.') }),
      /test_batch: holds no "data" of uint8 \[10000, 3072\]/,
    ],
    ['too few labels', () => ({ test_batch: pickled(0, { labels: 9 }) }), /holds no list of 10000 "labels"/],
    [
      'too few labels of an array',
      () => ({ test_batch: pickled(0, { labels: 9, labelType: 'i4' }) }),
      /10000 "labels"/,
    ],
    ['labels that are not whole', () => ({ test_batch: pickled(1, { labelType: 'f4' }) }), /record 0 has label 1\.40/],
    ['another shape', () => ({ test_batch: pickled(0, { shape: [20_000, 1536] }) }), /holds no "data" of uint8/],
    [
      'a shape that does not fit',
      () => ({ test_batch: pickled(0, { shape: [2 ** 30, 2 ** 30] }) }),
      /30720000 bytes for a NumPy/,
    ],
    ['elements of another type', () => ({ test_batch: pickled(0, { type: 'O8' }) }), /elements of type 'O8'/],
    [
      'a pickle that would run',
      () => ({ test_batch: Buffer.from("cos\nsystem\n(S'true'\ntR.") }),
      /refused: os\.system/,
    ],
    [
      'an archive without batches',
      () => ({ 'cifar-10-binary.tar.gz': tarGz({ x: planes }) }),
      /holds none of test_batch\.bin/,
    ],
    [
      'an archive with a batch twice',
      () => ({ 'cifar-10-binary.tar.gz': tarGz({ 'a/data_batch_1.bin': binary(0), 'b/data_batch_1.bin': binary(0) }) }),
      /holds data_batch_1 twice/,
    ],
  ])('refuses %s', async (what, files, message) => {
    const part = what.endsWith('twice') ? 'train' : 'heldOut';
    const error = await loadCifar10(folderOf(files()), part).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(message);
  });
});

describe('downloadCifar10', () => {
  const archive = readFileSync(fixture('tar_gnu.tar.gz'));
  const sha256 = createHash('sha256').update(archive).digest('hex');

  let server: Server;
  const stop = () => {
    server.closeAllConnections();
    return new Promise<unknown>((resolve) => server.close(resolve));
  };

  async function serve(listener: RequestListener): Promise<string> {
    server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(async () => void (await stop()));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/cifar.tar.gz`;
  }

  it('keeps a file with the right checksum and reports progress', async () => {
    const folder = join(folderOf(), 'new');
    const url = await serve((_, response) =>
      response.writeHead(200, { 'content-length': archive.length }).end(archive),
    );
    const progress: unknown[] = [];
    const path = await downloadCifar10(folder, { url, sha256, onProgress: (state) => progress.push(state) });
    expect(path).toBe(join(folder, 'cifar-10-binary.tar.gz'));
    expect(readFileSync(path)).toEqual(archive);
    expect(progress.at(-1)).toEqual({ bytes: archive.length, total: archive.length });
    expect(readdirSync(folder)).toEqual(['cifar-10-binary.tar.gz']);
  });

  it.each<[string, RequestListener, RegExp]>([
    ['other bytes', (_, response) => response.end('other'), /the download from .* has SHA-256 \w+ instead of/],
    ['a refusal', (_, response) => response.writeHead(404).end(), /answered 404 Not Found; download it by other means/],
    [
      'a connection that breaks',
      (_, response) => {
        response.writeHead(200, { 'content-length': archive.length });
        response.write(archive.subarray(0, 100), () => response.destroy());
      },
      /cannot be downloaded from http.*save it there as cifar-10-binary\.tar\.gz/,
    ],
  ])('keeps no file after %s', async (_, listener, message) => {
    const folder = folderOf();
    const error = await downloadCifar10(folder, { url: await serve(listener), sha256 }).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(message);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('names the address if there is no server, and keeps an older file', async () => {
    const folder = folderOf();
    copyFileSync(fixture('tar_gnu.tar.gz'), join(folder, 'cifar-10-binary.tar.gz'));
    const error = await downloadCifar10(folder, { url: 'http://127.0.0.1:9/x' }).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(
      /cannot be downloaded from http:\/\/127\.0\.0\.1:9\/x \(.+\); download it by other means/,
    );
    expect(readFileSync(join(folder, 'cifar-10-binary.tar.gz'))).toEqual(archive);
  });

  it('stops when aborted', async () => {
    const folder = folderOf();
    const url = await serve((_, response) => response.writeHead(200).write(archive.subarray(0, 100)));
    const controller = new AbortController();
    const reason = new Error('enough');
    const download = downloadCifar10(folder, {
      url,
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    });
    await expect(download).rejects.toBe(reason);
    expect(readdirSync(folder)).toEqual([]);
  });
});
