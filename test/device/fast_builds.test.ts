// The check of a fast build of kernels at its first use on a card: what it finds, what it keeps, and what goes wrong on the way. The
// kernels here double numbers; a constant of the source chooses the fault of the fast build. Needs g++ but not a GPU.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { loadCompanions } from '../../src/device/companions.ts';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import { surveyCuda } from '../../src/device/cuda/survey.ts';
import { checkedBy, chooseBuild, type FastCheck } from '../../src/device/fast_builds.ts';
import { checkBetweenKernels } from '../../src/device/interruption.ts';
import { type CudaModule, cudaModule } from '../../src/device/module.ts';
import { type Driver, DriverError, openDriver, type PrimaryContext, Stream } from '../../src/device/native/libcuda.ts';
import { listenToNotices } from '../../src/device/notices.ts';
import { DeviceError } from '../../src/errors.ts';
import { fakeCuda } from '../support/fakecuda.ts';

Object.assign(process.env, fakeCuda());
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-fast-'));
const root = fileURLToPath(new URL('../..', import.meta.url));
let cache: string;

beforeEach(() => {
  cache = mkdtempSync(join(folder, 'cache-'));
  vi.stubEnv('RECTIFLOW_CACHE', cache);
  vi.stubEnv('RECTIFLOW_VERIFY', '1');
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const file = join(folder, 'double.cu');
writeFileSync(
  file,
  `
extern "C" __global__ void twice(float *to, const float *from, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
#if FAULT == 2
  if (i < n) ((float *)64)[i] = from[i];
#elif FAULT == 1
  if (i < n) to[i] = i == 7 ? from[i] : 2 * from[i];
#elif FAULT == 3
  if (i < n) to[i] = from[i] / 0.0f * 0.0f;
#elif FAULT == 0
  if (i < n) to[i] = 2 * from[i];
#endif
}
`,
);
type Names = 'twice';
const signatures = { twice: 'ptr ptr i32' };
const COUNT = 100;

/** 2 x, by the build that the device chooses. */
function double(device: CudaDevice, fast: CudaModule<Names>, x: Float32Array): Float32Array {
  const kernels = device.load(
    (chooseBuild(device, [{ module: fast }], { module: fast })?.module ?? fast.twin) as typeof fast,
  );
  const [from, to] = [x, x].map(({ byteLength }) => device.allocate(byteLength));
  device.upload(from, x);
  kernels.twice({ grid: [1], block: [128] }, to, from, x.length);
  const y = new Float32Array(x.length);
  device.download(to, y);
  for (const address of [from, to]) device.free(address);
  return y;
}

const check: FastCheck = (device, build, seed) => {
  const values = double(
    device as CudaDevice,
    build,
    Float32Array.from({ length: COUNT }, (_, i) => seed + i),
  );
  return [{ what: 'doubling', values, tolerance: 0 }];
};

let made = 0;
/** A fast build with that fault, and its twin. */
async function fastBuild(fault: number, of: FastCheck = check): Promise<CudaModule<Names>> {
  const { href } = pathToFileURL(file);
  const twin = cudaModule(href, signatures, { flags: ['-DFAULT=0'], variant: `twin${++made}` });
  const build = cudaModule(href, signatures, { flags: [`-DFAULT=${fault}`], variant: `fast${made}`, twin });
  checkedBy([build], async () => of);
  await loadCompanions('cuda');
  return build;
}

const x = Float32Array.from({ length: COUNT }, (_, i) => i - 50);
const doubled = x.map((value) => 2 * value);

/** A device, its notices, and which builds it has loaded. */
function open() {
  const device = new CudaDevice();
  const heard: string[] = [];
  const listening = listenToNotices((text) => heard.push(text));
  return {
    device,
    heard,
    [Symbol.dispose]() {
      listening[Symbol.dispose]();
      // A fault corrupts the context, as on a card, so that the next device gets a new one.
      (Reflect.get(device, 'context') as PrimaryContext)[Symbol.dispose]();
    },
  };
}

const records = () => readdirSync(cache).filter((name) => name.endsWith('.txt'));
const verdictOf = (name: string) => JSON.parse(readFileSync(join(cache, name), 'utf8').split('\n')[1]);

test('a build that agrees is used, is checked once for all processes, and doctor counts it', async () => {
  const runs = vi.fn(check);
  const build = await fastBuild(0, runs);
  for (let process = 0; process < 2; process++) {
    using opened = open();
    expect(chooseBuild(opened.device, [{ module: build }], { module: build })).toBeDefined();
    expect(double(opened.device, build, x)).toEqual(doubled);
    expect(opened.heard).toEqual([]);
  }
  expect(runs).toHaveBeenCalledTimes(2);
  expect(records().map(verdictOf)).toEqual([{}]);
  expect(surveyCuda().kernels[0]).toEqual({
    works: true,
    text: expect.stringMatching(
      /^1 of \d+ fast builds checked on this card; (all|these) agree with the portable kernels$/,
    ),
  });
});

test.each([
  [1, /doubling differs from the portable kernels, by \d\.\de-\d of the largest value/],
  [3, /doubling differs from the portable kernels, it holds NaN/],
])('a build with the fault %i is not used, with one notice, and doctor names it', async (fault, reason) => {
  const build = await fastBuild(fault);
  const heard: string[] = [];
  for (let process = 0; process < 2; process++) {
    using opened = open();
    for (let call = 0; call < 2; call++) expect(double(opened.device, build, x)).toEqual(doubled);
    // Code that does not ask is refused.
    expect(() => opened.device.load(build)).toThrow(
      `the kernels ${build.name} are not used on cuda:0 (Emulated card 0)`,
    );
    heard.push(...opened.heard);
  }
  expect(heard).toEqual([expect.stringMatching(reason)]);
  expect(heard[0]).toMatch(
    /^the kernels .*fast\d+ are not used on cuda:0 .* The portable kernels serve in their place/,
  );
  const [{ works, text }, other] = surveyCuda().kernels;
  expect(works).toBe(false);
  expect(text).toMatch(reason);
  expect(text).toContain(build.name);
  // Nothing is known of the other card.
  expect(other.text).toMatch(/^0 of/);
});

test('a record holds for one card, one driver and one state of both builds', async () => {
  const runs = vi.fn(check);
  const build = await fastBuild(0, runs);
  const use = (index: number, change: (device: CudaDevice) => void = () => {}) => {
    const device = new CudaDevice(index);
    change(device);
    double(device, build, x);
    device[Symbol.dispose]();
    return runs.mock.calls.length / 2;
  };
  expect(use(0)).toBe(1);
  expect(use(0)).toBe(1);
  expect(use(1)).toBe(2);
  Object.assign(build.twin as CudaModule, { flags: ['-DFAULT=0', '-DCHANGED'] });
  expect(use(0)).toBe(3);
  const driver = openDriver() as { version: string };
  const { version } = driver;
  try {
    driver.version = '13.1';
    expect(use(0)).toBe(4);
  } finally {
    driver.version = version;
  }
  expect(records()).toHaveLength(4);
});

test.each([
  ['truncated', (text: string) => text.slice(0, 20)],
  ['changed', (text: string) => text.replace('{}', '{"reason":"none"}')],
  ['empty', () => ''],
])('a record that is %s is made again', async (_, damage) => {
  const runs = vi.fn(check);
  const build = await fastBuild(0, runs);
  const use = () => {
    using opened = open();
    return double(opened.device, build, x);
  };
  use();
  const [record] = records();
  const path = join(cache, record);
  const good = readFileSync(path, 'utf8');
  writeFileSync(path, damage(good));
  expect(use()).toEqual(doubled);
  expect(runs).toHaveBeenCalledTimes(4);
  expect(readFileSync(path, 'utf8')).toBe(good);
});

test.each([
  ['off', () => vi.stubEnv('RECTIFLOW_CACHE', 'off')],
  ['full of a folder', (name: string) => mkdirSync(join(cache, name))],
])('a cache that is %s: every process checks, and uses what agrees', async (_, spoil) => {
  const probe = await fastBuild(1);
  using first = open();
  double(first.device, probe, x);
  const [name] = records();
  rmSync(join(cache, name));
  spoil(name);
  for (let process = 0; process < 2; process++) {
    using opened = open();
    expect(double(opened.device, probe, x)).toEqual(doubled);
  }
  expect(readdirSync(cache).filter((left) => left.endsWith('.txt') && left !== name)).toEqual([]);
});

describe('a build that faults', () => {
  const fails = (build: CudaModule<Names>): Error => {
    using opened = open();
    try {
      double(opened.device, build, x);
    } catch (error) {
      expect(opened.heard).toEqual([]);
      return error as Error;
    }
    throw new Error('no error');
  };

  test('ends the program with a reason, and is not used by the next one', async () => {
    const build = await fastBuild(2);
    const error = fails(build);
    expect(error).toBeInstanceOf(DeviceError);
    expect(error.message).toMatch(
      /fast\d+ failed on cuda:0 \(Emulated card 0\) when they were checked, and this process cannot use the card any more: .*CUDA_ERROR_ILLEGAL_ADDRESS .* start the program again, and the portable kernels will serve in their place$/,
    );
    using next = open();
    expect(double(next.device, build, x)).toEqual(doubled);
    expect(next.heard).toEqual([expect.stringContaining('CUDA_ERROR_ILLEGAL_ADDRESS')]);
  });

  test('says what to repair if that cannot be remembered', async () => {
    vi.stubEnv('RECTIFLOW_CACHE', 'off');
    expect(fails(await fastBuild(2)).message).toMatch(
      /this cannot be remembered \(RECTIFLOW_CACHE is off\); repair the cache, then start the program twice$/,
    );
  });

  test('is not used if the driver refuses its launch, and the program continues', async () => {
    const build = await fastBuild(0, (device, module, seed) => {
      const { fastBuilds } = device as CudaDevice;
      const fast = fastBuilds.choose([{ module }], { module });
      if (fast) (device as CudaDevice).load(module).twice({ grid: [1], block: [4096] }, 0, 0, 0);
      return check(device, module, seed);
    });
    using opened = open();
    expect(double(opened.device, build, x)).toEqual(doubled);
    expect(opened.heard).toEqual([expect.stringMatching(/cuLaunchKernelEx: CUDA_ERROR_INVALID_VALUE/)]);
  });
});

test('a kernel that never ends is given up', () => {
  const calls: string[] = [];
  const driver = { make: () => 1, idle: () => false, call: (name: string) => calls.push(name) };
  const stream = new Stream(driver as unknown as Driver);
  stream.lastKernel = 'stuck';
  stream.limit = 30;
  for (const wait of [() => stream.wait(), () => stream.download(new Uint8Array(4), 4096)]) {
    expect(wait).toThrow(DriverError);
    expect(wait).toThrow('stuck did not end within 0.03 s');
  }
  expect(calls).toEqual([]);
});

test('a check that is interrupted leaves no record, and runs again', async () => {
  const build = await fastBuild(1);
  using opened = open();
  {
    using _stop = checkBetweenKernels(() => {
      throw new Error('stopped by the user');
    });
    expect(() => double(opened.device, build, x)).toThrow('stopped by the user');
  }
  expect(records()).toEqual([]);
  expect(double(opened.device, build, x)).toEqual(doubled);
  expect(records()).toHaveLength(1);
});

test('a check that leaves a kernel out counts as one that failed', async () => {
  const build = await fastBuild(0, () => []);
  using opened = open();
  expect(double(opened.device, build, x)).toEqual(doubled);
  expect(opened.heard).toEqual([expect.stringContaining('their check does not run twice')]);
});

test('work that is recorded cannot contain a check', async () => {
  const build = await fastBuild(0);
  using opened = open();
  expect(() => opened.device.record(() => double(opened.device, build, x))).toThrow(
    /checking .*fast\d+ is not possible while work is recorded/,
  );
});

test('RECTIFLOW_VERIFY=0 uses every build as it is', async () => {
  vi.stubEnv('RECTIFLOW_VERIFY', '0');
  const build = await fastBuild(1);
  using opened = open();
  expect(double(opened.device, build, x)).not.toEqual(doubled);
  expect(records()).toEqual([]);
});

test('prepare compiles the twins that it needs, and checks', async () => {
  const [good, bad] = [await fastBuild(0), await fastBuild(1)];
  using opened = open();
  const compiled: string[] = [];
  await opened.device.prepare([good, bad], ({ module }) => compiled.push(module));
  expect(compiled.sort()).toEqual([good, bad].flatMap(({ name, twin }) => [name, twin?.name]).sort());
  expect(records()).toHaveLength(2);
  expect(opened.heard).toHaveLength(1);
  await opened.device.prepare([good, bad], () => expect.unreachable('all are there'));
});

test('two processes at once check the same builds', async () => {
  const program = join(folder, 'two.mjs');
  writeFileSync(
    program,
    `import { openDevice, ones, matmul } from ${JSON.stringify(pathToFileURL(join(root, 'dist/index.js')).href)};
     const device = await openDevice('cuda', { precision: 'tf32' });
     const [a, b] = [ones([70, 40], { device }), ones([40, 70], { device })];
     console.log([...new Set(matmul(a, b).dataSync())].join());`,
  );
  const run = () =>
    new Promise<string>((resolve) => {
      const child = spawn(process.execPath, [program], { env: { ...process.env, RECTIFLOW_DEBUG: '1' } });
      let text = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (some) => (text += some));
      child.on('close', (code) => resolve(`${text}${code}`));
    });
  const texts = await Promise.all([run(), run()]);
  for (const text of texts) {
    expect(text).toMatch(/^40$/m);
    expect(text).toMatch(/0$/);
    expect(text).not.toMatch(/not kept|not used/);
  }
  expect(records().map(verdictOf)).toEqual([{}]);
}, 120_000);
