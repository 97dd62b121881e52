// The device wasm: its memory, threads and module, and the errors when one of them is missing or fails.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { cudaModule, kernelModule } from '../../src/device/module.ts';
import { openDevice } from '../../src/device/open.ts';
import { DeviceError } from '../../src/errors.ts';
import { add } from '../../src/kernels/elementwise.ts';
import { movementKernels } from '../../src/kernels/inner/strided.ts';
import { tensor } from '../../src/tensor/create.ts';
import { openTestDevice } from '../support/devices.ts';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const MEBIBYTE = 2 ** 20;

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('wasm');
}, 120_000);

test('is opened once per thread count, also by concurrent calls', async () => {
  const [first, second] = await Promise.all([4, 4].map((threads) => openDevice('wasm', { threads })));
  expect(second).toBe(first);
  expect(first.workers).toBe(4);
  expect(await openDevice('wasm')).toBe(device);
});

describe('memory', () => {
  test('uploads, copies, fills and downloads zero and odd counts of bytes, also overlapping', () => {
    const source = Uint8Array.from({ length: 1001 }, (_, i) => i % 251);
    const [a, b] = [device.allocate(1001), device.allocate(1001)];
    device.upload(a, source);
    device.copy(b, a, 1001);
    device.fill(b + 10, 5, 7);
    device.copy(b + 1, b, 1000);
    device.copy(b, a, 0);
    device.upload(a, new Uint8Array(0));
    const target = new Uint8Array(1001);
    device.download(b, target);
    source.fill(7, 10, 15);
    expect(target).toEqual(Uint8Array.from([source[0], ...source.subarray(0, 1000)]));
    device.free(a);
    device.free(b);
  });

  test('grows while threads run, beyond 2 GiB up to 4 GiB, and then reports what is in use', async () => {
    const grown = await openDevice('wasm', { threads: 2 });
    const blocks = [1100, 1100, 1100].map((size) => grown.allocate(size * MEBIBYTE));
    expect(blocks[2]).toBeGreaterThan(2 ** 31);
    // A tensor that begins beyond 2^31; both threads add to it.
    const values = Float32Array.from({ length: 300_001 }, (_, i) => i);
    using x = tensor(values, { shape: [values.length], device: grown });
    expect(x.address).toBeGreaterThan(2 ** 31);
    using y = add(x, x);
    expect(y.dataSync()).toEqual(values.map((value) => 2 * value));
    expect(() => grown.allocate(1100 * MEBIBYTE)).toThrow(
      /out of memory: 1152\.0 MiB asked, 34\d\d\.\d MiB in use by \d+ blocks, 34\d\d\.0 MiB reserved of 4095\.9 MiB at most/,
    );
    for (const block of blocks) grown.free(block);
    expect(grown.allocate(3000 * MEBIBYTE)).toBe(blocks[0]);
    expect(grown.memory().live).toBeGreaterThan(3000 * MEBIBYTE);
  });

  test('a launch with a wrong number of arguments throws', () => {
    const fill = device.load(movementKernels).movement_fill;
    expect(() => fill(device.table([1]), 1)).toThrow(/movement_fill takes 3 arguments \(ptr f32 i32\), got 2/);
  });

  test('equal tables share one allocation', () => {
    expect(device.table([1, 2, 3])).toBe(device.table([1, 2, 3]));
    expect(device.table([1, 2])).not.toBe(device.table([1, 2, 3]));
  });
});

/** Runs a program in a process of its own, on the built package. */
function program(text: string) {
  const index = new URL('../../dist/index.js', import.meta.url).href;
  return spawnSync(process.execPath, ['--input-type=module', '-e', text.replace("'rectiflow'", `'${index}'`)], {
    encoding: 'utf8',
    timeout: 60_000,
  });
}

describe('threads', () => {
  test.each([0, 500])('a program exits by itself %i ms after its workers had work', (pause) => {
    const { stdout, stderr, status } = program(`
      import { openDevice, randn } from 'rectiflow';
      const device = await openDevice('wasm', { threads: 3 });
      console.log(randn([4, 1000], { device, seed: 42 }).dataSync()[0]);
      await new Promise((resolve) => setTimeout(resolve, ${pause}));
    `);
    expect({ stdout, stderr, status }).toEqual({ stdout: '-0.9701896905899048\n', stderr: '', status: 0 });
  });

  test('a trapping kernel throws in this launch and the next, and nothing hangs', () => {
    const kernels = fileURLToPath(new URL('../../dist/kernels/inner/strided.js', import.meta.url));
    const { stdout, status } = program(`
      import { openDevice } from 'rectiflow';
      import { movementKernels } from '${kernels}';
      const device = await openDevice('wasm', { threads: 3 });
      const launch = device.load(movementKernels).movement_fill;
      for (const address of [2 ** 31, device.allocate(2 ** 24)])
        try {
          launch(address, 1, 2 ** 22);
          console.log('done');
        } catch (error) {
          console.log(error.name, error.message);
        }
    `);
    const lines = stdout.trim().split('\n');
    expect(lines[0]).toBe(
      'DeviceError movement_fill trapped; the wasm device can no longer be used: memory access out of bounds',
    );
    expect(lines[1]).toMatch(/^DeviceError movement_fill trapped/);
    expect(status).toBe(0);
  });

  test('two JavaScript threads can use the device at once', async () => {
    buildWasm();
    const text = `
      import { parentPort, workerData } from 'node:worker_threads';
      import { matmul, openDevice, randn, scope } from '${new URL('../../dist/index.js', import.meta.url).href}';
      const device = await openDevice('wasm', { threads: 2 });
      let sum = 0;
      for (let i = 0; i < 40; i++)
        scope(() => {
          const x = randn([96, 96], { device, seed: workerData });
          for (const value of matmul(x, x).dataSync()) sum += value;
        });
      parentPort.postMessage(sum);
    `;
    const run = (seed: number) =>
      new Promise((resolve, reject) => {
        const url = new URL(`data:text/javascript,${encodeURIComponent(text)}`);
        const worker = new Worker(url, { workerData: seed });
        worker.once('message', resolve);
        worker.once('error', reject);
      });
    const alone = await run(1);
    const [same, other] = await Promise.all([run(1), run(2)]);
    expect(same).toBe(alone);
    expect(other).not.toBe(alone);
  });
});

describe('the module', () => {
  test('refuses a kernel file that is not part of its build, and CUDA kernels', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rectiflow-wasm-test-'));
    const file = (name: string) => pathToFileURL(join(folder, 'kernels', name)).href;
    mkdirSync(join(folder, 'kernels'));
    writeFileSync(join(folder, 'kernels/cast.c'), '/* another text */\n');
    writeFileSync(join(folder, 'kernels/own.c'), '');
    const changed = kernelModule(file('cast.c'), { cast_from_bf16: 'ptr ptr i32' });
    expect(() => device.load(changed)).toThrow(/was built from another version of cast\.c; run `npm run build:wasm`/);
    const own = kernelModule(file('own.c'), { own_kernel: 'ptr' });
    expect(() => device.load(own)).toThrow(/has no kernels of own\.c/);
    expect(() => device.load(cudaModule(file('cast.cu'), {}))).toThrow(DeviceError);
  });

  test.each([
    [
      'is missing',
      (path: string) => rmSync(path),
      /needs dist\/wasm\/kernels\.js, which does not exist: run `npm run build:wasm`/,
    ],
    [
      'is not JavaScript',
      (path: string) => writeFileSync(path, readFileSync(path).subarray(0, 1000)),
      /kernels\.js is damaged: .*run `npm run build:wasm`/,
    ],
    [
      'is truncated',
      (path: string) => writeFileSync(path, `export const packed = '${readFileSync(path, 'utf8').slice(30, 1030)}';`),
      /kernels\.js is damaged: .*run `npm run build:wasm`/,
    ],
    [
      'was never built',
      (path: string) => writeFileSync(path, 'export const packed = undefined;'),
      /needs dist\/wasm\/kernels\.js, which does not exist: run `npm run build:wasm`/,
    ],
  ] as const)('an error says which command to run if it %s', (_, spoil, message) => {
    const copy = mkdtempSync(join(tmpdir(), 'rectiflow-wasm-copy-'));
    cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
    cpSync(join(root, 'package.json'), join(copy, 'package.json'));
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    spoil(join(copy, 'dist/wasm/kernels.js'));
    const { stderr, status } = spawnSync(
      process.execPath,
      ['--input-type=module', '-e', `import { openDevice } from './dist/index.js'; await openDevice('wasm');`],
      { cwd: copy, encoding: 'utf8' },
    );
    expect(stderr).toMatch(message);
    expect(status).toBe(1);
  });

  test('the build names a missing tool', () => {
    const env = { ...process.env, CLANG: 'no-such-clang' };
    const copy = mkdtempSync(join(tmpdir(), 'rectiflow-wasm-build-'));
    for (const name of ['src', 'scripts', 'package.json'])
      cpSync(join(root, name), join(copy, name), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const { stderr, status } = spawnSync('npm', ['run', '--silent', 'build:wasm'], {
      cwd: copy,
      env,
      encoding: 'utf8',
    });
    expect(stderr).toBe(
      'build:wasm: needs no-such-clang, which was not found (Debian, Ubuntu: apt-get install clang lld); or name one by CLANG\n',
    );
    expect(status).toBe(1);
  });
});
