// Small files that unpack to a gigabyte: each is refused in one line, before memory is allocated. Files whose unpacked
// size is as declared and in proportion to the file are read.
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { constants, crc32, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { allowedBytes } from '../../src/io/archives/unpack_limits.ts';
import type { BombReport } from '../support/bomb_child.ts';
import { rawZip } from '../support/hostile_files.ts';
import { random } from '../support/random.ts';

const MiB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-bombs-'));
afterAll(() => rmSync(folder, { recursive: true }));

const zeros = Buffer.alloc(64 * MiB);
/** Deflated bytes that more can follow, so that a part can be repeated. */
const part = deflateRawSync(zeros, { finishFlush: constants.Z_SYNC_FLUSH });
/** `head` and `count` times 64 MiB of zeros after it, deflated. */
function deflated(head: Uint8Array, count: number): Buffer {
  const begin = deflateRawSync(head, { finishFlush: constants.Z_SYNC_FLUSH });
  return Buffer.concat([begin, ...Array.from({ length: count }, () => part), deflateRawSync(new Uint8Array(0))]);
}
const member = gzipSync(zeros, { level: 9 });
const gzipped = (head: Uint8Array, count: number) =>
  Buffer.concat([gzipSync(head), ...Array.from({ length: count }, () => member)]);

/** The 128-byte header of a .npy file of u8 elements. */
function npyHeader(count: number): Buffer {
  const literal = `{'descr': '|u1', 'fortran_order': False, 'shape': (${count},), }`.padEnd(117);
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\0\x76\0', 'latin1'), Buffer.from(`${literal}\n`)]);
}

function npz(head: Uint8Array, count: number, size = head.length + count * 64 * MiB, copies = 1, name = 'a'): Buffer {
  const bytes = deflated(head, count);
  return rawZip(
    Array.from({ length: copies }, (_, i) => ({
      name: `${name}${copies > 1 ? i : ''}.npy`,
      bytes,
      method: 8,
      size,
    })),
  );
}

function idx(shape: number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * shape.length);
  bytes.set([0, 0, 8, shape.length]);
  for (const [i, dim] of shape.entries()) bytes.writeUInt32BE(dim, 4 + 4 * i);
  return bytes;
}

function png(width: number, height: number, depth: number, colourType: number, pixels: Uint8Array): Buffer {
  const chunk = (type: string, body: Uint8Array) => {
    const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type), body, Buffer.alloc(4)]);
    bytes.writeUInt32BE(body.length, 0);
    bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
    return bytes;
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colourType], 8);
  const palette = colourType === 3 ? [chunk('PLTE', new Uint8Array(6))] : [];
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  const [head, data, end] = [chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND', new Uint8Array(0))];
  return Buffer.concat([signature, head, ...palette, data, end]);
}

/** A zlib stream of `count` times 64 MiB of zeros. Its checksum is wrong, which only shows at its end. */
const zlibZeros = (count: number) =>
  Buffer.concat([Buffer.from([0x78, 0x9c]), deflated(new Uint8Array(0), count), Buffer.alloc(4)]);

function tarHeader(name: string, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(name);
  header.write(size.toString(8).padStart(11, '0'), 124);
  header.write(' '.repeat(8), 148);
  header.write('0', 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** One image of noise and zeros, 70 MiB in total: large, but not a bomb. */
const draw = random('noise');
const noise = Uint8Array.from({ length: 4 * MiB }, () => 256 * draw());
const inProportion = Buffer.concat([noise, Buffer.alloc(66 * MiB)]);
const labels = Buffer.concat([idx([1]), Buffer.from([7])]);

function mnist(images: Uint8Array): Record<string, Uint8Array> {
  return { 'train-images-idx3-ubyte.gz': images, 'train-labels-idx1-ubyte': labels };
}

const whole = 14 * 64 * MiB;
const files: Record<string, [content: Uint8Array | Record<string, Uint8Array>, outcome: RegExp]> = {
  'declared.npz': [npz(npyHeader(whole), 14), /^: unpacks to \d+ bytes; at most 67108864 are allowed, 32 times/],
  'in_parts.npz': [npz(npyHeader(64 * MiB), 1, 128 + 64 * MiB, 14), /^: unpacks to 939525888 bytes/],
  'declared.stats.npz': [npz(npyHeader(whole), 14, undefined, 1, 'pool_3'), /^: unpacks to \d+ bytes/],
  'other_shape.max.npz': [npz(npyHeader(5), 14), /, a\.npy: holds 939524096 bytes of elements, but u8 \[5\] needs 5/],
  'endless.npz': [
    npz(npyHeader(whole), 14, 1000),
    /^: entry "a\.npy" exceeds its size: it has more than the 1000 bytes declared/,
  ],
  'endless.max.npz': [npz(npyHeader(whole), 14, 65 * MiB), /needs 939524096/],
  'declared.mnist': [mnist(gzipped(idx([1, 32768, whole / 32768]), 14)), /declares \[1, 32768, 28672\] in a file of/],
  'endless.mnist': [mnist(gzipped(idx([1, 2, 3]), 14)), /has more than the 22 bytes declared/],
  'short.mnist': [mnist(gzipped(idx([1, 1024, 1024]), 0)), /has 16 of the 1048592 bytes declared/],
  'overflow.mnist': [
    mnist(gzipped(idx([2 ** 31, 2 ** 31, 2 ** 31]), 0)),
    /declares \[2147483648, 2147483648, 2147483648\]/,
  ],
  'proportion.mnist': [mnist(gzipSync(Buffer.concat([idx([1, 1024, 70 * 1024]), inProportion]))), /^1 images/],
  'large.png': [png(30_000, 30_000, 8, 0, zlibZeros(14)), /^: is 30000 x 30000 pixels; at most 1 GiB, and 32 times/],
  'palette.png': [png(20_000, 20_000, 1, 3, zlibZeros(1)), /^: is 20000 x 20000 pixels/],
  'bits.png': [png(20_000, 20_000, 1, 0, zlibZeros(1)), /^: is 20000 x 20000 pixels/],
  'endless.png': [png(2, 2, 8, 0, zlibZeros(14)), /^: its pixels cannot be unpacked: has more than the 6 bytes/],
  'allowed.png': [png(8000, 8000, 8, 0, deflateSync(Buffer.alloc(8000 * 8001))), /^64000000 values/],
  'skipped.tar.gz': [gzipped(tarHeader('x', 2 ** 33 - 1), 14), /^: unpacks to more than 67108864 bytes, 32 times/],
  'wanted.tar.gz': [gzipped(tarHeader('data_batch_1.bin', whole), 14), /"data_batch_1\.bin" has 939524096 bytes, more/],
};
// The largest size that is always allowed, with the right checksum.
const allowed = Buffer.concat([npyHeader(64 * MiB - 128), zeros.subarray(128)]);
files['allowed.npz'] = [
  rawZip([{ name: 'a.npy', bytes: deflateRawSync(allowed), method: 8, size: allowed.length, crc: crc32(allowed) }]),
  /^67108736 values/,
];
const more = Buffer.concat([npyHeader(70 * MiB), inProportion]);
files['proportion.npz'] = [
  rawZip([{ name: 'a.npy', bytes: deflateRawSync(more), method: 8, size: more.length, crc: crc32(more) }]),
  /^73400320 values/,
];
const blank = Buffer.concat([npyHeader(70 * MiB), Buffer.alloc(70 * MiB)]);
const packedBlank = deflateRawSync(blank);
for (const [name, outcome] of [
  ['blank.npz', /^: unpacks to 73400448 bytes/],
  ['blank.max.npz', /^73400320 values/],
] as const)
  files[name] = [
    rawZip([{ name: 'a.npy', bytes: packedBlank, method: 8, size: blank.length, crc: crc32(blank) }]),
    outcome,
  ];

let report: BombReport;
beforeAll(async () => {
  for (const [name, [content]] of Object.entries(files)) {
    if (content instanceof Uint8Array) {
      writeFileSync(join(folder, name), content);
      continue;
    }
    mkdirSync(join(folder, name));
    for (const [file, bytes] of Object.entries(content)) writeFileSync(join(folder, name, file), bytes);
  }
  const child = fileURLToPath(new URL('../support/bomb_child.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'jiti/register', child, folder], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    timeout: 110_000,
    killSignal: 'SIGKILL',
  });
  report = JSON.parse(stdout);
}, 120_000);

it.each(Object.entries(files))('%s', (name, [, outcome]) => {
  expect(report.outcomes[name]).toMatch(outcome);
  expect(report.outcomes[name]).not.toContain('\n');
});

it('refuses all of them with little memory and time', () => {
  expect(report.megabytes).toBeLessThan(450);
  expect(report.slowestMilliseconds).toBeLessThan(5000);
});

it('allows 64 MiB always, and beyond that 32 times the file', () => {
  expect([0, 1, 2 * MiB, 2 * MiB + 1, 2 ** 30].map(allowedBytes)).toEqual([
    64 * MiB,
    64 * MiB,
    64 * MiB,
    64 * MiB + 32,
    2 ** 35,
  ]);
});
