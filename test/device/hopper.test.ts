// The additions of sm_90 on the emulated card: tensor maps and which of them the driver refuses, the layout of boxes and patches in
// shared memory, and faults planted in the convolution, each of which must be found. Needs g++ but not a GPU.

import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { TensorMaps } from '../../src/device/device.ts';
import type { CudaModule } from '../../src/device/module.ts';
import { openDriver, type PrimaryContext } from '../../src/device/native/libcuda.ts';
import { addressOf } from '../../src/device/native/loader.ts';
import { hopperBuilds } from '../../src/kernels/conv/hopper.ts';
import { convShapeOf, toTable } from '../../src/kernels/conv/shape.ts';
import { full } from '../support/devices.ts';
import { fakeCuda } from '../support/fakecuda.ts';

Object.assign(process.env, fakeCuda(), { RECTIFLOW_CUDA_CACHING: '0' });
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-hopper-'));
const kernels = fileURLToPath(new URL('../../src/kernels', import.meta.url));

afterEach(() => {
  vi.unstubAllEnvs();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('tensor maps', () => {
  const encoder = openDriver().tensorMapEncoder();
  const memory = new Uint8Array(512);
  /** The address of a map, asked each time: a reference to the array keeps its memory from being collected. */
  const mapAt = (offset: number) => Math.ceil(addressOf(memory) / 64) * 64 + offset;
  const image = {
    address: 4096,
    extents: [64, 7, 5, 2],
    pitches: [128, 128 * 7, 128 * 35],
    lower: [-1, -1],
    upper: [-1, -1],
    channels: 64,
    pixels: 128,
  };
  const matrix = { address: 4096, extents: [128, 40], pitches: [256], box: [64, 64] };

  test('accepts valid ones', () => {
    encoder?.im2col(mapAt(0), image);
    encoder?.tiled(mapAt(0), matrix);
  });

  test.each([
    ['a map address that is not a multiple of 64', 8, {}],
    ['memory that is not aligned to 16 bytes', 0, { address: 4104 }],
    ['a null address', 0, { address: 0 }],
    ['a pitch that is not a multiple of 16', 0, { pitches: [136, 128 * 7, 128 * 35] }],
    ['rows that overlap', 0, { pitches: [64, 128 * 7, 128 * 35] }],
    ['an extent of 0', 0, { extents: [64, 0, 5, 2] }],
    ['rows wider than the swizzle', 0, { channels: 72 }],
    ['more than 1024 pixels', 0, { pixels: 1025 }],
    ['corners out of range', 0, { lower: [-129, 0] }],
  ])('refuses %s', (_, offset, change) => {
    expect(() => encoder?.im2col(mapAt(offset), { ...image, ...change })).toThrow(
      'cuTensorMapEncodeIm2col: CUDA_ERROR_INVALID_VALUE (1), invalid argument',
    );
  });

  test.each([
    ['more than 256 rows', { box: [64, 257] }],
    ['an empty box', { box: [64, 0] }],
    ['a row that is not a multiple of 16 bytes', { box: [20, 8] }],
  ])('refuses %s', (_, change) => {
    expect(() => encoder?.tiled(mapAt(0), { ...matrix, ...change })).toThrow(/cuTensorMapEncodeTiled: .*INVALID_VALUE/);
  });

  test('names the tensor in the error', () => {
    const device = new CudaDevice();
    expect(() => device.tensorMaps?.rows(4100, [8, 64], 8)).toThrow(/no tensor map for 4100 8 64 8: .*INVALID_VALUE/);
    device[Symbol.dispose]();
  });
});

test('reuses a tensor map that is requested again', () => {
  const device = new CudaDevice();
  const maps = device.tensorMaps as TensorMaps;
  const ask = () => maps.rows(4096, [8, 64], 8);
  const first = ask();
  for (let i = 1; i < 5000; i++) {
    expect(maps.rows(4096 + 16 * i, [8, 64], 8)).not.toBe(first);
    if (i % 1000 === 0) expect(ask()).toBe(first);
  }
  expect(() => maps.together(new Array(33).fill(first))).toThrow('33 tensor maps, at most 32');
  device[Symbol.dispose]();
});

test('cards and drivers without support have no tensor maps', () => {
  vi.stubEnv('FAKECUDA_ARCH', '80');
  const device = new CudaDevice();
  expect(device.tensorMaps).toBeUndefined();
  device[Symbol.dispose]();
});

/** A module of kernels from this source, next to copies of the product's headers. */
function written<Names extends string>(name: string, source: string, signatures: Record<Names, string>) {
  for (const header of ['common.cuh', 'ptx_hopper.cuh'])
    copyFileSync(join(kernels, 'include', header), join(folder, header));
  const file = join(folder, `${name}.cu`);
  writeFileSync(file, source);
  return { language: 'cuda', name, url: pathToFileURL(file), kernels: signatures, flags: [] } as CudaModule<Names>;
}

describe('copies by tensor maps', () => {
  const source = `
#include "common.cuh"
#include "ptx_hopper.cuh"

/* Copies a box or patches, rows of 128 bytes, and writes shared memory out unchanged. */
KERNEL dump(const __grid_constant__ tensor_map map, u16 *out, int rows, int is_box, int a, int b, int c, int d, int tap_x, int tap_y) {
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ barrier arrived;
  u16 *target = (u16 *)(memory + (1024 - shared_address(memory) % 1024) % 1024);
  if (threadIdx.x == 0) {
    barrier_init(&arrived, 1);
    barriers_announce();
    barrier_expect(&arrived, rows * 128);
    if (is_box) load_box(target, map, &arrived, a, b);
    else load_patches(target, map, &arrived, a, b, c, d, tap_x, tap_y);
  }
  __syncthreads();
  barrier_wait(&arrived, 0);
  for (int i = threadIdx.x; i < rows * 64; i += blockDim.x) out[i] = target[i];
}
`;
  const module = written('dump', source, { dump: 'map ptr i32 i32 i32 i32 i32 i32 i32 i32' });

  /** The contents of shared memory, unswizzled by the rule of the PTX manual; elements are numbered from 1. */
  function copied(size: number, rows: number, map: (maps: TensorMaps, address: number) => number, at: number[]) {
    const device = new CudaDevice();
    const address = device.allocate(size * 2);
    device.upload(
      address,
      Uint16Array.from({ length: size }, (_, i) => i + 1),
    );
    const out = device.allocate(rows * 128);
    const launchGrid = { grid: [1] as const, block: [32] as const, shared: rows * 128 + 1024 };
    device.load(module).dump(launchGrid, map(device.tensorMaps as TensorMaps, address), out, rows, ...at);
    const raw = new Uint16Array(rows * 64);
    device.download(out, raw);
    for (const one of [address, out]) device.free(one);
    device[Symbol.dispose]();
    return Array.from(raw, (_, i) => {
      const [row, column] = [Math.floor(i / 64), i % 64];
      return raw[row * 64 + ((Math.floor(column / 8) ^ (row % 8)) * 8 + (column % 8))];
    });
  }

  test.each(['eager', 'deferred'])('copies a box that extends beyond the matrix, %s', (copies) => {
    vi.stubEnv('FAKECUDA_COPIES', copies);
    const [rows, columns, x, y] = [11, 96, 64, 5];
    const got = copied(rows * columns, 16, (maps, address) => maps.rows(address, [rows, columns], 16), [
      1,
      x,
      y,
      0,
      0,
      0,
      0,
    ]);
    const want = Array.from({ length: 16 * 64 }, (_, i) => {
      const [row, column] = [y + Math.floor(i / 64), x + (i % 64)];
      return row < rows && column < columns ? row * columns + column + 1 : 0;
    });
    expect(got).toEqual(want);
  });

  test.each([
    { kernel: [3, 3], padding: [1, 1], tap: [0, 2], first: 5, channel: 0 },
    { kernel: [3, 3], padding: [0, 0], tap: [2, 1], first: 0, channel: 64 },
    { kernel: [2, 3], padding: [1, 2], tap: [1, 0], first: 17, channel: 64 },
    { kernel: [1, 1], padding: [0, 0], tap: [0, 0], first: 30, channel: 0 },
  ])(
    'copies patches across borders and images: %j',
    ({ kernel: [kh, kw], padding: [padY, padX], tap, first, channel }) => {
      const [n, height, width, channels, count] = [2, 5, 4, 128, 40];
      const [outH, outW] = [height + 2 * padY - kh + 1, width + 2 * padX - kw + 1];
      const placeOf = (pixel: number) => [
        Math.floor(pixel / (outH * outW)),
        (Math.floor(pixel / outW) % outH) - padY,
        (pixel % outW) - padX,
      ];
      const map = (maps: TensorMaps, address: number) =>
        maps.patches(address, [n, height, width, channels], [-padY, -padX], [padY - kh + 1, padX - kw + 1], count);
      const [image, top, left] = placeOf(first);
      const got = copied(n * height * width * channels, count, map, [0, channel, left, top, image, tap[1], tap[0]]);
      const want = Array.from({ length: count * 64 }, (_, i) => {
        const [sample, startY, startX] = placeOf(first + Math.floor(i / 64));
        const [y, x] = [startY + tap[0], startX + tap[1]];
        if (sample >= n || y < 0 || y >= height || x < 0 || x >= width) return 0;
        return ((sample * height + y) * width + x) * channels + channel + (i % 64) + 1;
      });
      expect(got).toEqual(want);
    },
  );
});

describe('the convolution', () => {
  type Build = (typeof hopperBuilds)[number];
  const [first] = hopperBuilds;

  /** A build with some lines of its source changed. */
  function changed(build: Build, name: string, ...edits: [line: string, into: string][]): Build {
    const copy = join(folder, name);
    cpSync(kernels, copy, { recursive: true, filter: (path) => !/\.(ts|c|h)$/.test(path) });
    const sources = ['conv/hopper.cu', 'conv/hopper_ring.cuh'].map((file) => join(copy, file));
    for (const [line, into] of edits) {
      const places = sources.flatMap((file) =>
        readFileSync(file, 'utf8')
          .split(line)
          .slice(1)
          .map(() => file),
      );
      expect(places.length, `places of "${line}"`).toBe(1);
      writeFileSync(places[0], readFileSync(places[0], 'utf8').replace(line, into));
    }
    return { ...build, module: { ...build.module, name, url: pathToFileURL(sources[0]) } };
  }

  /** A 1x1 convolution of small whole numbers: one block, two or three tiles of 12 steps, which is more than the ring has stages. */
  const [height, width, channels, outputs] = [20, 15, 12 * 64, 64];
  const pixels = height * width;
  const bits = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0] >>> 16;
  const x = Array.from({ length: pixels * channels }, (_, i) => (i % 3) - 1);
  const w = Array.from({ length: outputs * channels }, (_, i) => ((i * 7) % 5) - 2);
  const exact = Array.from({ length: pixels * outputs }, (_, i) => {
    const [pixel, output] = [Math.floor(i / outputs), i % outputs];
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += x[pixel * channels + c] * w[output * channels + c];
    return sum;
  });

  function convolution({ module, rows, columns }: Build): number[] {
    const device = new CudaDevice();
    try {
      const maps = device.tensorMaps as TensorMaps;
      const place = (values: readonly number[]) => {
        const address = device.allocate(values.length * 2);
        device.upload(address, Uint16Array.from(values, bits));
        return address;
      };
      const [image, weights, y] = [x, w, exact.map(() => 0)].map(place);
      const patches = maps.patches(image, [1, height, width, channels], [0, 0], [0, 0], rows);
      const operands = [
        patches,
        maps.rows(weights, [outputs, channels], columns),
        ...[y, 0, 0, 0],
        device.table(toTable(convShapeOf([1, height, width, channels], [outputs, 1, 1, channels]))),
        ...[1, patches, channels],
      ];
      const launchGrid = { grid: [1] as const, block: [384] as const, shared: 225 * 1024 };
      device.load(module).conv_hopper_forward(launchGrid, ...operands);
      const result = new Uint16Array(pixels * outputs);
      device.download(y, result);
      return Array.from(new Float32Array(Uint32Array.from(result, (value) => value << 16).buffer));
    } finally {
      // A fault corrupts the context, as on a card, so the next device gets a new one.
      (Reflect.get(device, 'context') as PrimaryContext)[Symbol.dispose]();
    }
  }

  const conditions = ['round', 'forward', 'backward'].flatMap((schedule) =>
    ['eager', 'deferred'].map((copies) => ({ schedule, copies })),
  );

  /** The conditions under which the result is wrong or the launch fails. */
  function wrongUnder(of: Build): typeof conditions {
    return conditions.filter(({ schedule, copies }) => {
      vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
      vi.stubEnv('FAKECUDA_COPIES', copies);
      try {
        const got = convolution(of);
        // The result is rounded to bf16.
        return !got.every((value, i) => Math.abs(value - exact[i]) <= 2 ** -8 * Math.abs(exact[i]));
      } catch (error) {
        expect((error as Error).message).toMatch(/CUDA_ERROR_LAUNCH_FAILED/);
        return true;
      }
    });
  }

  test.each(hopperBuilds)(
    'is right under every condition: $module.name',
    (build) => {
      expect(wrongUnder(build)).toEqual([]);
    },
    120_000,
  );

  const always = conditions.length;
  const faults: [what: string, line: string, into: string, least: number][] = [
    ['no wait for the copies', '    barrier_wait(s.full, s.parity);\n', '', 2],
    ['no wait for a free stage', '    barrier_wait(s.empty, s.parity ^ 1);\n', '', 2],
    [
      'the bytes of one operand only',
      'barrier_expect(s.full, STAGE_BYTES)',
      'barrier_expect(s.full, LEFT_BYTES)',
      always,
    ],
    [
      'more bytes than are copied',
      'barrier_expect(s.full, STAGE_BYTES)',
      'barrier_expect(s.full, STAGE_BYTES + 16)',
      always,
    ],
    ['a wrong parity in the producer', 's.parity ^ 1', 's.parity', always],
    ['a wrong parity in the consumers', '(s.full, s.parity)', '(s.full, s.parity ^ 1)', always],
    ['a stage released too early', '    products_wait<1>();\n', '', 1],
    ['the wrong stage released', 'give_back(step - 1);', 'give_back(step);', 1],
    ['the last stage of a tile not released', '  give_back(steps - 1);\n', '', 1],
    ['half of the arrivals only', 'TOGETHER * 4', '4', 1],
    ['no wait for the last products', '  products_wait<0>();\n', '', always],
    ['no fence before products', '    products_fence();\n', '', always],
    ['barriers not announced', '    barriers_announce();\n', '', always],
    ['a misaligned ring', '(1024 - shared_address(memory) % 1024) % 1024', '0', always],
  ];
  // Each takes a build and nine launches, so only every third runs by default.
  test.each(faults.filter((_, i) => full || i % 3 === 0))(
    'the emulated card finds a planted fault: %s',
    (what, line, into, least) => {
      const wrong = wrongUnder(changed(first, what.replaceAll(' ', '_'), [line, into]));
      expect(wrong.length).toBeGreaterThanOrEqual(least);
    },
    120_000,
  );

  test('without turns, alternating warpgroups mistake one phase for another', () => {
    const build = hopperBuilds.find(({ together }) => together === 1) as Build;
    const line = 'if (TOGETHER == 1 && i > 0) barrier_wait(r.turns + consumer(), (u32)((i - 1) / CONSUMERS % 2));';
    expect(wrongUnder(changed(build, 'no_turns', [line, ''])).length).toBeGreaterThan(0);
  }, 120_000);
});
