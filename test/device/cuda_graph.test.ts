// Recording and replaying on the CUDA device with the fakes, and the driver's objects that this uses: graphs, events, pinned
// memory, streams that fork and join.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { CudaModule } from '../../src/device/module.ts';
import { Event, Graph, PinnedMemory } from '../../src/device/native/cuda_handles.ts';
import { type Driver, DriverError, openDriver, PrimaryContext, Stream } from '../../src/device/native/libcuda.ts';
import { RecordingError } from '../../src/errors.ts';
import { fakeCuda } from '../support/fakecuda.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-graph-'));
beforeAll(() => {
  Object.assign(process.env, fakeCuda(), { RECTIFLOW_CACHE: join(folder, 'cache') });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function written(name: string): CudaModule<'scale'> {
  const path = join(folder, `${name}.cu`);
  writeFileSync(
    path,
    `extern "C" __global__ void scale(float *y, const float *x, const float *factor, int n) {
       int i = blockIdx.x * blockDim.x + threadIdx.x;
       if (i < n) y[i] = x[i] * factor[0];
     }`,
  );
  return { language: 'cuda', name, url: pathToFileURL(path), kernels: { scale: 'ptr ptr ptr i32' }, flags: [] };
}

const module = written('scale');

function floats(device: CudaDevice, values: readonly number[]): number {
  const address = device.allocate(4 * values.length);
  device.upload(address, Float32Array.from(values));
  return address;
}

function read(device: CudaDevice, address: number, count: number): number[] {
  const values = new Float32Array(count);
  device.download(address, values);
  return [...values];
}

test('the time of each kernel of recorded work', () => {
  using device = new CudaDevice(0);
  const { scale } = device.load(module);
  const [x, factor, y] = [
    floats(device, new Array(4096).fill(1)),
    floats(device, [3]),
    floats(device, new Array(4096).fill(0)),
  ];
  const work = (sizes: readonly number[]) => () => {
    for (const n of sizes) scale({ grid: [n / 32], block: [32] }, y, x, factor, n);
    device.copy(x, x + 4 * 2048, 16);
  };
  const times = device.profile(work([32, 4096, 32]), 5);
  expect(times.map(({ kernel }) => kernel)).toEqual(['scale', 'scale', 'scale']);
  const [short, long] = times.map(({ milliseconds }) => milliseconds);
  expect(short).toBeGreaterThan(0);
  // 128 blocks instead of one; the emulated card runs them one after the other.
  expect(long).toBeGreaterThan(4 * short);
  // Kernels are not marked afterwards.
  const again = device.record(work([32]));
  again.replay();
  again[Symbol.dispose]();
  expect(device.profile(() => {}, 3)).toEqual([]);
  expect(() => device.profile(() => device.upload(x, new Float32Array(1)), 3)).toThrow(RecordingError);
});

test('late reads return the values at their place in the queue', () => {
  using device = new CudaDevice(0);
  const address = floats(device, [1, 2]);
  const reads = device.lateReads(8);
  const values = () => {
    const finish = reads.read(address);
    return () => [...new Float32Array(finish().buffer)];
  };
  const first = values();
  device.upload(address, Float32Array.of(3, 4));
  const second = values();
  device.upload(address, Float32Array.of(5, 6));
  expect(first()).toEqual([1, 2]);
  expect(second()).toEqual([3, 4]);
  expect(values()()).toEqual([5, 6]);
  expect(() => device.record(() => reads.read(address))).toThrow(RecordingError);
  reads[Symbol.dispose]();
});

describe.each([true, false])('with caching %s', (caching) => {
  test('each replay runs the recorded work on the current contents of memory, in private memory', () => {
    using device = new CudaDevice(0, { caching });
    const { scale } = device.load(module);
    const [x, factor, y] = [floats(device, [1, 2]), floats(device, [3]), floats(device, [0, 0])];
    const before = device.memory();
    const grid = { grid: [1], block: [32] } as const;
    const recording = device.record(() => {
      const between = device.allocate(8);
      device.fill(between, 8, 0);
      scale(grid, between, x, factor, 2);
      scale(grid, y, between, factor, 2);
      device.free(between);
    });
    expect(read(device, y, 2)).toEqual([0, 0]);
    expect(device.memory().live).toBe(before.live);
    expect(device.memory().reserved).toBeGreaterThan(before.reserved);
    recording.replay();
    expect(read(device, y, 2)).toEqual([9, 18]);
    device.upload(factor, Float32Array.of(-1));
    device.upload(x, Float32Array.of(5, 7));
    // No other allocation gets the memory between the two kernels.
    const other = floats(device, [100, 100]);
    recording.replay();
    expect(read(device, y, 2)).toEqual([5, 7]);
    expect(read(device, other, 2)).toEqual([100, 100]);
    device.free(other);
    recording[Symbol.dispose]();
    expect(device.memory().reserved).toBe(before.reserved);
    expect(() => recording.replay()).toThrow(/CUDA_ERROR_INVALID_VALUE \(1\)/);
  });
});

test('refuses by name what cannot be recorded, and the device stays usable', () => {
  using device = new CudaDevice();
  const { scale } = device.load(module);
  const [x, factor] = [floats(device, [2]), floats(device, [3])];
  const another = written('another');
  const refused = (what: RegExp, work: () => void) => {
    let caught: unknown;
    try {
      device.record(() => {
        scale({ grid: [1], block: [1] }, x, x, factor, 1);
        work();
      });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(RecordingError);
    expect(String(caught)).toMatch(what);
    expect(String(caught)).toMatch(/while work is recorded \(after the kernel scale\)/);
  };
  refused(/reading a value/, () => read(device, x, 1));
  refused(/writing values of the host/, () => floats(device, [1]));
  refused(/loading another/, () => device.load(another));
  refused(/freeing memory that was allocated before the recording/, () => device.free(x));
  refused(/making a table/, () => device.table([1, 2, 3]));
  refused(/recording another graph/, () => device.record(() => {}));
  expect(read(device, x, 1)).toEqual([2]);
  expect(() =>
    device.record(() => {
      throw new Error('of the work itself');
    }),
  ).toThrow('of the work itself');
  device.load(another).scale({ grid: [1], block: [1] }, x, x, factor, 1);
  expect(read(device, x, 1)).toEqual([6]);
});

test('a tensor that outlives its recording keeps the memory until it is freed', () => {
  using device = new CudaDevice();
  let kept = 0;
  const before = device.memory().reserved;
  const recording = device.record(() => {
    kept = device.allocate(64);
    device.fill(kept, 64, 1);
  });
  recording.replay();
  recording[Symbol.dispose]();
  const bytes = new Uint8Array(64);
  device.download(kept, bytes);
  expect(new Set(bytes)).toEqual(new Set([1]));
  device.free(kept);
  expect(device.memory().reserved).toBe(before);
});

test('uploads of any size are complete even if the array changes right after the call', () => {
  using device = new CudaDevice();
  const values = new Float32Array(3 * 2 ** 20 + 5).map((_, i) => i % 1000);
  const address = device.allocate(values.byteLength);
  for (let round = 0; round < 3; round++) {
    device.upload(address, values);
    const expected = values.slice();
    values.fill(-1);
    const got = new Float32Array(values.length);
    device.download(address, got);
    expect(Buffer.compare(Buffer.from(got.buffer), Buffer.from(expected.buffer))).toBe(0);
    values.set(expected.map((value) => value + 1));
  }
});

describe('driver objects', () => {
  let driver: Driver;
  let context: PrimaryContext;
  beforeAll(() => {
    driver = openDriver();
    context = new PrimaryContext(driver, 1);
    driver.enter(context.handle);
  });
  afterAll(() => context[Symbol.dispose]());

  const refused = (name: RegExp, call: () => void) => {
    driver.enter(context.handle);
    expect(call).toThrow(DriverError);
    expect(call).toThrow(name);
  };

  test('a stream that forks during a capture must join again', () => {
    driver.enter(context.handle);
    const [main, side] = [new Stream(driver), new Stream(driver)];
    const [forked, joined] = [new Event(driver), new Event(driver)];
    const memory = driver.make('cuMemAlloc_v2', 8);
    const fill = (stream: Stream, byte: number) => driver.call('cuMemsetD8Async', memory, byte, 4, stream.handle);
    const branch = () => {
      fill(main, 1);
      forked.record(main);
      forked.hold(side);
      fill(side, 2);
      joined.record(side);
    };
    refused(/STREAM_CAPTURE_UNJOINED \(904\)/, () => new Graph(driver, main, branch));
    refused(/STREAM_CAPTURE_UNJOINED/, () => {
      new Graph(driver, main, () => {
        branch();
        fill(side, 3);
        joined.hold(main);
      });
    });
    const graph = new Graph(driver, main, () => {
      branch();
      joined.hold(main);
      fill(main, 7);
    });
    graph.replay();
    const bytes = new Uint8Array(8);
    main.download(bytes, memory);
    expect([...bytes]).toEqual([7, 7, 7, 7, 255, 255, 255, 255]);
    graph[Symbol.dispose]();
    for (const owned of [main, side, forked, joined]) owned[Symbol.dispose]();
    driver.call('cuMemFree_v2', memory);
  });

  test('synchronizing and allocating invalidate a capture', () => {
    driver.enter(context.handle);
    using stream = new Stream(driver);
    const address = driver.make('cuMemAlloc_v2', 8);
    const capture = (work: () => void) => () => new Graph(driver, stream, work);
    refused(
      /cuStreamSynchronize: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED \(900\)/,
      capture(() => stream.wait()),
    );
    refused(
      /cuMemAlloc_v2: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED/,
      capture(() => driver.make('cuMemAlloc_v2', 8)),
    );
    refused(
      /cuMemcpyHtoDAsync_v2: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED/,
      capture(() => stream.upload(address, new Uint8Array(4))),
    );
    // A caller that swallows the error finds the capture invalidated.
    refused(
      /STREAM_CAPTURE_INVALIDATED \(901\)/,
      capture(() => expect(() => stream.wait()).toThrow(DriverError)),
    );
    new Graph(driver, stream, () => {})[Symbol.dispose]();
    driver.call('cuMemFree_v2', address);
  });
  test('events recorded in a graph are stamped at each replay, other events of a capture never', () => {
    driver.enter(context.handle);
    using stream = new Stream(driver);
    const [start, end, plain] = [new Event(driver, true), new Event(driver, true), new Event(driver, true)];
    const graph = new Graph(driver, stream, () => {
      start.recordInGraph(stream);
      plain.record(stream);
      end.recordInGraph(stream);
    });
    refused(/INVALID_HANDLE/, () => end.since(start));
    graph.replay();
    stream.wait();
    expect(end.since(start)).toBeGreaterThanOrEqual(0);
    refused(/INVALID_HANDLE/, () => plain.since(start));
    graph[Symbol.dispose]();
    for (const event of [start, end, plain]) event[Symbol.dispose]();
  });

  test('measures the time between two events, and refuses destroyed handles', () => {
    driver.enter(context.handle);
    using stream = new Stream(driver);
    const [start, end] = [new Event(driver, true), new Event(driver, true)];
    refused(/INVALID_HANDLE \(400\)/, () => end.since(start));
    start.record(stream);
    end.record(stream);
    end.wait();
    expect(end.since(start)).toBeGreaterThanOrEqual(0);
    using untimed = new Event(driver);
    untimed.record(stream);
    refused(/INVALID_HANDLE/, () => untimed.since(start));
    for (const event of [start, end]) event[Symbol.dispose]();
    refused(/INVALID_HANDLE/, () => start.record(stream));
    refused(/INVALID_HANDLE/, () => start.wait());
    const pinned = new PinnedMemory(driver, 100);
    pinned.bytes.fill(3);
    pinned[Symbol.dispose]();
    refused(/INVALID_VALUE/, () => pinned[Symbol.dispose]());
  });
});
