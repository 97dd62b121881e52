// Three faults, each planted in the matrix product on tensor cores: the emulated card must find each under some schedule and timing
// of its asynchronous copies. The unchanged source passes under all of them. Needs g++ but not a GPU.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, expect, test, vi } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { CudaModule } from '../../src/device/module.ts';
import { matmulCuda } from '../../src/kernels/matmul.ts';
import { fakeCuda } from '../support/fakecuda.ts';

Object.assign(process.env, fakeCuda(), { RECTIFLOW_CUDA_CACHING: '0' });
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-planted-'));

afterEach(() => {
  vi.unstubAllEnvs();
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const kernels = fileURLToPath(new URL('../../src/kernels', import.meta.url));
const [{ tile, module }] = matmulCuda.tf32;

/** The module with some lines of a header changed. */
function changed(
  name: string,
  ...edits: [line: string, into: string][]
): CudaModule<'matmul_multiply_right_transposed'> {
  const copy = join(folder, name);
  cpSync(kernels, copy, {
    recursive: true,
    filter: (path) => !/\.(ts|c|h)$/.test(path) || path.endsWith('generator.h'),
  });
  const header = join(copy, 'include/tensor_tile.cuh');
  let text = readFileSync(header, 'utf8');
  for (const [line, into] of edits) {
    expect(text.split(line).length, `places of "${line}"`).toBe(2);
    text = text.replace(line, into);
  }
  writeFileSync(header, text);
  return { ...module, name, url: pathToFileURL(join(copy, 'matmul.cu')) };
}

/** a [m, k] times the transpose of b [n, k], exact in small whole numbers. No extent is a multiple of the tile or the step. */
const [m, k, n] = [70, 100, 75];
const a = Float32Array.from({ length: m * k }, (_, i) => (i % 7) - 3);
const b = Float32Array.from({ length: n * k }, (_, i) => (i % 5) - 2);
const exact = Float32Array.from({ length: m * n }, (_, i) => {
  const [row, column] = [Math.floor(i / n), i % n];
  let sum = 0;
  for (let term = 0; term < k; term++) sum += a[row * k + term] * b[column * k + term];
  return sum;
});

function product(of: CudaModule<'matmul_multiply_right_transposed'>): Float32Array {
  const device = new CudaDevice();
  const [left, right, c] = [a, b, exact].map((values) => device.allocate(values.byteLength));
  device.upload(left, a);
  device.upload(right, b);
  const launchGrid = { grid: [4] as const, block: [2 * tile] as const, shared: 3 * 2 * 80 * tile };
  const { matmul_multiply_right_transposed: multiply } = device.load(of);
  // The product is chunked, so that both operands are copied asynchronously.
  multiply(launchGrid, left, right, 0, c, m, k, n, 0, 0, k, 1, 3);
  const result = new Float32Array(m * n);
  device.download(c, result);
  for (const address of [left, right, c]) device.free(address);
  device[Symbol.dispose]();
  return result;
}

const barrier = '    __syncthreads();\n';

const conditions = ['round', 'forward', 'backward'].flatMap((schedule) =>
  ['eager', 'deferred'].map((copies) => ({ schedule, copies })),
);

/** The conditions under which the product is wrong. */
function wrongUnder(of: CudaModule<'matmul_multiply_right_transposed'>): typeof conditions {
  return conditions.filter(({ schedule, copies }) => {
    vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
    vi.stubEnv('FAKECUDA_COPIES', copies);
    return !Buffer.from(product(of).buffer).equals(Buffer.from(exact.buffer));
  });
}

test('the unchanged product is right under every condition', () => {
  expect(wrongUnder(module)).toEqual([]);
}, 120_000);

test('finds a missing barrier', () => {
  const wrong = wrongUnder(changed('no_barrier', [barrier, '']));
  expect(wrong.map(({ schedule }) => schedule)).toContain('forward');
}, 120_000);

test('finds a wait after the barrier when copies are deferred', () => {
  const wait = '    copy_async_wait<STAGES - 2>();\n';
  const wrong = wrongUnder(changed('late_wait', [wait, ''], [barrier, `${barrier}${wait}`]));
  expect(wrong.length).toBeGreaterThan(0);
  expect(new Set(wrong.map(({ copies }) => copies))).toEqual(new Set(['deferred']));
}, 120_000);

// This test is last because a fault corrupts the context of the process, as on a card.
test('reports a write out of bounds', () => {
  const beyond = changed('out_of_bounds', ['i < 16 && row0 + i < rows', 'i < 16']);
  expect(() => product(beyond)).toThrow(/CUDA_ERROR_ILLEGAL_ADDRESS/);
}, 120_000);
