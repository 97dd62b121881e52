// The CUDA device on the fakes of test/fakecuda: memory, compilation and its cache, launches, faults. Needs g++ but not a GPU.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { chooseTarget } from '../../src/device/cuda/architecture.ts';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { CudaModule } from '../../src/device/module.ts';
import { DriverError, LoadedModule, openDriver, PrimaryContext, Stream } from '../../src/device/native/libcuda.ts';
import { openDevice } from '../../src/device/open.ts';
import { DeviceError } from '../../src/errors.ts';
import { fakeCuda } from '../support/fakecuda.ts';

const fakes = fakeCuda();
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-cuda-'));
let cache: string;

beforeAll(() => {
  process.env.LIBCUDA_PATH = fakes.LIBCUDA_PATH;
  process.env.LIBNVRTC_PATH = fakes.LIBNVRTC_PATH;
  process.env.RECTIFLOW_VERIFY = fakes.RECTIFLOW_VERIFY;
});

beforeEach(() => {
  cache = mkdtempSync(join(folder, 'cache-'));
  vi.stubEnv('RECTIFLOW_CACHE', cache);
});

afterEach(() => {
  vi.unstubAllEnvs();
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const scaleSource = `
extern "C" __global__ void scale(float *x, float factor, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] *= factor;
}
`;

/** A module whose source is this text. */
function written<Names extends string>(
  name: string,
  source: string,
  kernels: Record<Names, string>,
  flags: string[] = [],
): CudaModule<Names> {
  const path = join(folder, `${name}.cu`);
  writeFileSync(path, source);
  return { language: 'cuda', name, url: pathToFileURL(path), kernels, flags };
}

const scale = written('scale', scaleSource, { scale: 'ptr f32 i32' });

function filled(device: CudaDevice, values: readonly number[]): number {
  const address = device.allocate(4 * values.length);
  device.upload(address, Float32Array.from(values));
  return address;
}

function read(device: CudaDevice, address: number, count: number): number[] {
  const values = new Float32Array(count);
  device.download(address, values);
  return [...values];
}

describe('opening', () => {
  test('opens cuda once, as cuda:0, and names a card that does not exist', async () => {
    const device = await openDevice('cuda');
    expect(device.name).toBe('cuda:0');
    expect(device.description).toMatch(/Emulated card 0, 4\.0 GiB, kernels for sm_90a, driver 13\.0, NVRTC 13\.99/);
    expect(await openDevice('cuda:0')).toBe(device);
    expect((await openDevice('cuda:1')).description).toMatch(/Emulated card 1/);
    await expect(openDevice('cuda:7')).rejects.toThrow(/cuda:7 does not exist: the driver shows 2 card/);
    await expect(openDevice('cuda:x')).rejects.toThrow(/unknown device "cuda:x"/);
  });

  test('refuses a machine without a card, and a card that is too old', () => {
    vi.stubEnv('FAKECUDA_ARCH', '75');
    expect(() => new CudaDevice()).toThrow(/cuda:0 \(Emulated card 0\) is sm_75; kernels need sm_80/);
    vi.stubEnv('FAKECUDA_CARDS', '0');
    expect(() => new CudaDevice()).toThrow(/shows 0 card/);
  });

  test('a card unknown to NVRTC runs PTX of the nearest older architecture', () => {
    vi.stubEnv('FAKECUDA_ARCH', '121');
    using device = new CudaDevice();
    expect(device.description).toContain('kernels for compute_90');
    const x = filled(device, [1, 2]);
    device.load(scale).scale({ grid: [1], block: [32] }, x, 3, 2);
    expect(read(device, x, 2)).toEqual([3, 6]);
    expect(readdirSync(cache).filter((name) => name.endsWith('.ptx'))).toHaveLength(1);
  });

  test('uses the architecture of the card if NVRTC supports it', () => {
    const card = { index: 0, name: 'card', multiprocessors: 1, memory: 1, sharedMemory: 1 };
    const nvrtc = { architectures: [75, 80, 86, 90], version: '12.0' };
    expect(chooseTarget({ ...card, architecture: 86 }, nvrtc)).toEqual({ name: 'sm_86', binary: 'cubin' });
    expect(chooseTarget({ ...card, architecture: 89 }, nvrtc)).toEqual({ name: 'compute_86', binary: 'ptx' });
    expect(() => chooseTarget({ ...card, architecture: 80 }, { ...nvrtc, architectures: [75, 86] })).toThrow(
      /NVRTC 12\.0 compiles for sm_75, sm_86, none of which/,
    );
  });
});

describe('memory', () => {
  test('uploads, copies and fills any number of bytes, including zero and odd counts', () => {
    using device = new CudaDevice();
    const source = Uint8Array.from({ length: 1001 }, (_, i) => i % 251);
    const [a, b] = [device.allocate(1001), device.allocate(1001)];
    device.upload(a, source);
    device.copy(b, a, 1001);
    device.fill(b + 10, 5, 7);
    device.copy(b, a, 0);
    device.upload(a, new Uint8Array(0));
    const target = new Uint8Array(1001);
    device.download(b, target);
    source.fill(7, 10, 15);
    expect(target).toEqual(source);
  });

  test('frees unused memory of a full card, then reports what is in use', () => {
    vi.stubEnv('FAKECUDA_MEMORY', String(256 * 2 ** 20));
    using device = new CudaDevice(1, { caching: true });
    const blocks = [100, 100].map((mebibytes) => device.allocate(mebibytes * 2 ** 20));
    for (const block of blocks) device.free(block);
    expect(device.memory().live).toBe(0);
    const large = device.allocate(220 * 2 ** 20);
    expect(() => device.allocate(60 * 2 ** 20)).toThrow(
      /out of memory: 60\.0 MiB asked, 224\.0 MiB in use by 1 blocks/,
    );
    device.free(large);
    device.free(device.allocate(60 * 2 ** 20));
    expect(() => device.free(large)).toThrow(DeviceError);
  });

  test('without caching every tensor is a separate allocation', () => {
    vi.stubEnv('RECTIFLOW_CUDA_CACHING', '0');
    using device = new CudaDevice();
    const address = device.allocate(12);
    expect(device.memory()).toEqual({ live: 12, highWater: 12, reserved: 12 });
    expect(() => device.upload(address, new Float32Array(4))).toThrow(/CUDA_ERROR_INVALID_VALUE \(1\)/);
    device.free(address);
    expect(() => device.upload(address, new Float32Array(3))).toThrow(/CUDA_ERROR_INVALID_VALUE/);
    expect(() => device.free(address)).toThrow(/not allocated/);
  });

  test('equal tables share one allocation', () => {
    using device = new CudaDevice();
    expect(device.table([1, 2, 3])).toBe(device.table([1, 2, 3]));
    expect(device.table([1, 2])).not.toBe(device.table([1, 2, 3]));
  });
});

describe('compilation', () => {
  test('an error contains the whole log, the file and the line', () => {
    using device = new CudaDevice();
    const broken = written(
      'broken',
      `${scaleSource}\n__device__ int f() { return first; }\nint g() { return second; }`,
      {
        scale: 'ptr f32 i32',
      },
    );
    expect(() => device.load(broken)).toThrow(/broken\.cu did not compile with NVRTC 13\.99/);
    expect(() => device.load(broken)).toThrow(/broken\.cu:7:.*first.*broken\.cu:8:.*second/s);
  });

  test('reports an option unknown to NVRTC', () => {
    using device = new CudaDevice();
    expect(() => device.load(written('option', scaleSource, { scale: 'ptr f32 i32' }, ['--fast']))).toThrow(
      /INVALID_OPTION.*unrecognized option --fast/s,
    );
  });

  test('a second device reads the cache and recompiles a damaged image', () => {
    const load = () => {
      using device = new CudaDevice();
      device.load(scale);
    };
    load();
    const [image] = readdirSync(cache).filter((name) => name.endsWith('.cubin'));
    expect(readFileSync(join(cache, image.replace('.cubin', '.cu')), 'utf8')).toContain('void scale(');
    const path = join(cache, image);
    const { mtimeMs } = statSync(path);
    const good = readFileSync(path);
    load();
    expect(statSync(path).mtimeMs).toBe(mtimeMs);
    for (const damaged of [Buffer.from(good).fill(0, 100, 110), good.subarray(0, 50), Buffer.alloc(0)]) {
      writeFileSync(path, damaged);
      load();
      expect(readFileSync(path)).toEqual(good);
    }
  });

  test('prepare compiles the modules for CUDA and its precision, and reports progress', async () => {
    using device = new CudaDevice();
    const progress: string[] = [];
    const forBf16 = { ...scale, name: 'scale.bf16', precisions: ['bf16'] as const };
    await device.prepare([scale, forBf16], ({ done, total, module }) => progress.push(`${done}/${total} ${module}`));
    expect(progress).toEqual(['1/1 scale']);
  });

  test('prepare compiles several files at once and names a broken one', async () => {
    using device = new CudaDevice();
    const many = Array.from({ length: 6 }, (_, i) => written(`many${i}`, `${scaleSource}// ${i}`, scale.kernels));
    const progress: number[] = [];
    await device.prepare(many, ({ done, total }) => progress.push(done / total));
    expect(progress).toEqual([1, 2, 3, 4, 5, 6].map((done) => done / 6));
    await device.prepare(many, () => expect.unreachable('all are there'));
    const broken = written('broken_one', 'int g() { return second; }', { g: '' });
    await expect(device.prepare([...many, broken])).rejects.toThrow(/broken_one\.cu did not compile/);
  });

  test('refuses CPU kernels by name', () => {
    using device = new CudaDevice();
    const cpu = { ...scale, language: 'c' as const };
    expect(() => device.load(cpu)).toThrow(/scale has no kernels for the device cuda:0 yet/);
  });
});

describe('launches', () => {
  test('passes arguments of every kind', async () => {
    using device = new CudaDevice();
    const kinds = written(
      'kinds',
      `extern "C" __global__ void kinds(double *out, const float *x, int a, float b, double c) {
         out[threadIdx.x] = x[threadIdx.x] + a + b + c;
       }`,
      { kinds: 'ptr ptr i32 f32 f64' },
    );
    const out = device.allocate(16);
    device.load(kinds).kinds({ grid: [1], block: [2] }, out, filled(device, [1, 2]), -3, 0.5, 1e-9);
    await device.synchronize();
    const values = new Float64Array(2);
    device.download(out, values);
    expect([...values]).toEqual([-1.5 + 1e-9, -0.5 + 1e-9]);
  });

  test('reports wrong counts, kinds and names of arguments', () => {
    using device = new CudaDevice();
    const x = filled(device, [1]);
    expect(() => device.load(scale).scale({ grid: [1], block: [1] }, x, 2)).toThrow(/scale takes 3 arguments .* got 2/);
    for (const [signature, said] of [
      ['ptr f32', /declared as "ptr f32", parameters of 8, 4 bytes; the compiled kernel has 8, 4, 4/],
      ['ptr f64 i32', /8, 8, 4 bytes; the compiled kernel has 8, 4, 4/],
    ] as const)
      expect(() => device.load({ ...scale, kernels: { scale: signature } })).toThrow(said);
    expect(() => device.load(written('named', scaleSource, { scales: 'ptr' }))).toThrow(/CUDA_ERROR_NOT_FOUND/);
  });

  test('refuses too many threads, too much shared memory and an empty grid', () => {
    using device = new CudaDevice();
    const launch = (grid: number, block: number, shared = 0) =>
      device.load(scale).scale({ grid: [grid], block: [block], shared }, x, 2, 1);
    const x = filled(device, [1]);
    expect(() => launch(1, 1025)).toThrow(/scale \(grid 1, block 1025.*INVALID_VALUE/);
    expect(() => launch(0, 32)).toThrow(/INVALID_VALUE/);
    expect(() => launch(1, 32, 300 * 1024)).toThrow(/INVALID_VALUE/);
    launch(1, 32, 200 * 1024);
    expect(read(device, x, 1)).toEqual([2]);
  });

  test('supports warp shuffles, votes and atomics', () => {
    using device = new CudaDevice();
    const warps = written(
      'warps',
      `extern "C" __global__ void warps(int *out) {
         int lane = threadIdx.x % 32, sum = lane;
         for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, step);
         int above = __shfl_down_sync(0xFFFFFFFFu, lane, 1);
         unsigned even = __ballot_sync(0xFFFFFFFFu, lane % 2 == 0);
         if (lane == 0) { atomicAdd(out, sum); atomicMax(out + 1, above + (int)threadIdx.x); }
         if (lane == 31) out[2] = (int)even;
       }`,
      { warps: 'ptr' },
    );
    const out = device.allocate(12);
    device.fill(out, 12, 0);
    device.load(warps).warps({ grid: [2], block: [64] }, out);
    const values = new Int32Array(3);
    device.download(out, values);
    expect([...values]).toEqual([4 * 496, 33, 0x55555555]);
  });

  test('every call names its invalid argument', () => {
    const driver = openDriver();
    const refused = (name: RegExp, call: () => void) => {
      expect(call).toThrow(DriverError);
      expect(call).toThrow(name);
    };
    const context = new PrimaryContext(driver, 1);
    driver.enter(0);
    refused(/INVALID_CONTEXT \(201\)/, () => driver.make('cuMemAlloc_v2', 16));
    driver.enter(context.handle);
    const stream = new Stream(driver);
    refused(/INVALID_IMAGE \(200\)/, () => new LoadedModule(driver, new TextEncoder().encode('\x7fELF\0')));
    refused(/INVALID_VALUE \(1\)/, () => driver.call('cuMemFree_v2', 4096));
    const memory = driver.make('cuMemAlloc_v2', 64);
    refused(/INVALID_VALUE/, () => driver.call('cuMemcpyDtoDAsync_v2', memory, memory + 16, 32, stream.handle));
    refused(/INVALID_VALUE/, () => driver.call('cuMemsetD8Async', memory + 1, 0, 64, stream.handle));
    stream[Symbol.dispose]();
    refused(/INVALID_HANDLE \(400\)/, () => stream.wait());
    refused(/INVALID_HANDLE/, () => driver.call('cuModuleUnload', 4096));
    driver.call('cuMemFree_v2', memory);
    context[Symbol.dispose]();
  });
});

/** A program that uses the built package, with these kernels in a module `m` and a device `d` without caching. */
function program(
  source: string,
  kernels: Record<string, string>,
  body: string,
  variables: Record<string, string> = {},
) {
  const { url } = written('program', source, kernels);
  const dist = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href;
  const text = `
    import { CudaDevice } from '${dist('device/cuda/device.js')}';
    const d = new CudaDevice(0, { caching: false });
    const m = { language: 'cuda', name: 'program', url: new URL('${url.href}'), flags: [], kernels: ${JSON.stringify(kernels)} };
    const floats = (address, n) => { const v = new Float32Array(n); d.download(address, v); return v; };
    ${body}`;
  const env = { ...process.env, ...variables };
  return spawnSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8', env });
}

describe('faults', () => {
  const launch = `
    const x = d.allocate(4 * 64);
    d.upload(x, Float32Array.from({ length: 64 }, (_, i) => i));
    d.load(m).run({ grid: [1], block: [64] }, x);
    console.log(floats(x, 64).join(' '));`;
  const reverse = (barrier: string) => `extern "C" __global__ void run(float *x) {
    __shared__ float s[64];
    unsigned i = threadIdx.x;
    s[i] = x[i];
    ${barrier}
    __syncwarp();
    x[i] = s[63 - i];
  }`;
  const reversed = `${Array.from({ length: 64 }, (_, i) => 63 - i).join(' ')}\n`;
  const schedules = ['round', 'forward', 'backward'];

  test('a kernel is right under every schedule, and wrong under some without its barrier', () => {
    const outputs = (barrier: string) =>
      schedules.map(
        (schedule) => program(reverse(barrier), { run: 'ptr' }, launch, { FAKECUDA_SCHEDULE: schedule }).stdout,
      );
    expect(outputs('__syncthreads();')).toEqual([reversed, reversed, reversed]);
    const wrong = outputs('').filter((output) => output !== reversed);
    expect(wrong.length).toBeGreaterThan(0);
    for (const output of wrong) expect(output).toContain('NaN');
  });

  test.each([
    [
      'a write just beyond the end',
      'x[64 + threadIdx.x % 2] = 0;',
      /CUDA_ERROR_ILLEGAL_ADDRESS \(700\)/,
      /a write \d bytes beyond|outside/,
    ],
    [
      'a write far beyond the end',
      'x[1 << 20] = 0;',
      /CUDA_ERROR_ILLEGAL_ADDRESS \(700\)/,
      /outside of all allocations, block/,
    ],
    ['before the start', 'x[-1] = 0;', /CUDA_ERROR_ILLEGAL_ADDRESS \(700\)/, /a write 4 bytes before|outside/],
    ['to nowhere', '*(float *)0 = 0;', /CUDA_ERROR_ILLEGAL_ADDRESS \(700\)/, /outside/],
    [
      'a barrier that some threads do not reach',
      'if (threadIdx.x < 40) __syncthreads();',
      /CUDA_ERROR_LAUNCH_FAILED \(719\)/,
      /that 24 threads do not reach/,
    ],
    [
      'threads at different barriers',
      'if (threadIdx.x < 40) __syncthreads();\nelse __syncthreads();',
      /CUDA_ERROR_LAUNCH_FAILED/,
      /different barriers/,
    ],
    [
      'a warp operation that not all lanes reach',
      'if (threadIdx.x < 40) x[0] = __shfl_xor_sync(0xFFFFFFFFu, x[1], 1);',
      /CUDA_ERROR_LAUNCH_FAILED/,
      /not all lanes/,
    ],
  ])('%s', (_, statement, code, reason) => {
    const source = `extern "C" __global__ void run(float *x) {\n${statement}\n}`;
    const { status, stderr, stdout } = program(source, { run: 'ptr' }, launch);
    expect(stdout).toBe('');
    expect(status).toBe(1);
    expect(stderr).toMatch(code);
    expect(stderr).toMatch(reason);
  });
});

test('RECTIFLOW_DEBUG prints what is compiled, times each kernel, and names the one that failed', () => {
  const launch = `const x = d.allocate(4); for (const n of [1, 99]) d.load(m).run({ grid: [1], block: [1] }, x, n);`;
  const source = 'extern "C" __global__ void run(float *x, int n) { x[n - 1] = 0; }';
  const quiet = program(source, { run: 'ptr i32' }, `${launch} await d.synchronize();`);
  expect(quiet.stderr).toMatch(/CUDA_ERROR_ILLEGAL_ADDRESS.*RECTIFLOW_DEBUG=2 waits for each and names it/);
  expect(quiet.stderr).not.toMatch(/rectiflow: /);
  rmSync(cache, { recursive: true });
  const { stderr } = program(source, { run: 'ptr i32' }, launch, { RECTIFLOW_DEBUG: '3' });
  expect(stderr).toMatch(/rectiflow: compiled program\.cu for sm_90a in \d+ ms/);
  expect(stderr).toMatch(/rectiflow: source of program\.cu.*\.cu\n/);
  expect(stderr.match(/rectiflow: run [\d.]+ us/g)).toHaveLength(1);
  expect(stderr).toMatch(/DeviceError: run failed: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS/);
});

test('two worker threads use one card at once, each through its own device', async () => {
  const dist = (path: string) => new URL(`../../dist/${path}`, import.meta.url).href;
  const text = `
    import { parentPort, workerData } from 'node:worker_threads';
    import { CudaDevice } from '${dist('device/cuda/device.js')}';
    const d = new CudaDevice();
    const m = { language: 'cuda', name: 'scale', url: new URL('${scale.url.href}'), flags: [], kernels: { scale: 'ptr f32 i32' } };
    const x = d.allocate(4000);
    d.upload(x, new Float32Array(1000).fill(1));
    const { scale } = d.load(m);
    for (let i = 0; i < 100; i++) {
      scale({ grid: [8], block: [128] }, x, workerData, 1000);
      if (i % 10 === 0) await d.synchronize();
    }
    const values = new Float32Array(1000);
    d.download(x, values);
    parentPort.postMessage([...new Set(values)]);
    d.free(x);
    d[Symbol.dispose]();`;
  const run = (factor: number) =>
    new Promise((resolve, reject) => {
      const url = new URL(`data:text/javascript,${encodeURIComponent(text)}`);
      const worker = new Worker(url, { workerData: factor });
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  expect(await Promise.all([run(-1), run(0.5)])).toEqual([[1], [2 ** -100]]);
}, 60_000);
