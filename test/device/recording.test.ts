// Recording on devices whose kernels run in the calling thread: replays repeat the work on the same private memory, unsupported
// operations are refused, and a replayed training step is bit-identical to eager execution.
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { RecordingError } from '../../src/errors.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { gather } from '../../src/kernels/movement.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { flowObjective } from '../../src/run/training/objective.ts';
import { trainingState } from '../../src/run/training/session.ts';
import { BatchUpdate } from '../../src/run/training/update.ts';
import { empty, full, tensor } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { configWith } from '../support/config.ts';
import { openTestDevice } from '../support/devices.ts';

describe.each(['cpu', 'wasm'])('%s', (name) => {
  let device: Device;
  let indices: Tensor;
  beforeAll(async () => {
    device = await openTestDevice(name);
    indices = tensor([0, 1], { device, dtype: 'i32' });
  }, 120_000);

  const numbers = (count: number, value: number) => full([count], value, { device });
  /** y += 2 x, which needs temporary memory. */
  const work = (x: Tensor, y: Tensor) => () =>
    scope(() => device.copy(y.address, add(y, mul(x, 2)).address, 4 * y.size));

  it('records work without running it, and runs it at each replay on the current contents of memory', () => {
    const [x, y] = [numbers(1000, 1), numbers(1000, 0)];
    using recording = device.record(work(x, y));
    expect(y.dataSync()[999]).toBe(0);
    recording.replay();
    recording.replay();
    expect(y.dataSync()[999]).toBe(4);
    device.upload(x.address, new Float32Array(1000).fill(10));
    device.fill(y.address, 4000, 0);
    recording.replay();
    expect([...y.dataSync()]).toEqual(new Array(1000).fill(20));
  });

  it('computes counts that depend on shapes immediately, and records fills and copies', () => {
    const [a, b, y] = [
      tensor([1, 2, 3, 4], { shape: [2, 2], device }),
      tensor([5, 6, 7, 8], { shape: [2, 2], device }),
      empty([3], { device }),
    ];
    using recording = device.record(() =>
      scope(() => {
        device.fill(y.address, 12, 0);
        device.copy(y.address + 4, sum(matmul(a, b)).address, 4);
      }),
    );
    recording.replay();
    expect([...y.dataSync()]).toEqual([0, 19 + 22 + 43 + 50, 0]);
  });

  it('keeps its memory private until it is disposed, and counts it as live', () => {
    const count = 100_000;
    const [x, y] = [numbers(count, 1), numbers(count, 0)];
    // Memory that a first step would have left in the cache.
    work(x, y)();
    const before = device.memory();
    const recording = device.record(work(x, y));
    expect(device.memory()).toEqual({ ...before, highWater: expect.any(Number) });
    const others = [numbers(count, 3), numbers(count, 3)];
    recording.replay();
    for (const other of others) expect(other.dataSync().every((value) => value === 3)).toBe(true);
    expect(y.dataSync()[0]).toBe(4);
    for (const other of others) other.dispose();
    device.resetHighWater();
    const { live } = device.memory();
    recording.replay();
    // Two tensors of the recording are live at once.
    expect(device.memory().highWater - live).toBeGreaterThanOrEqual(8 * count);
    expect(device.memory().live).toBe(live);
    const { reserved } = device.memory();
    recording[Symbol.dispose]();
    work(x, y)();
    expect(device.memory().reserved).toBe(reserved);
  });

  it('a tensor made in a recording stays valid until it is freed', () => {
    let made: Tensor | undefined;
    const x = numbers(10, 2);
    const { live } = device.memory();
    const recording = device.record(() => {
      made = keep(mul(x, x));
    });
    recording.replay();
    recording[Symbol.dispose]();
    expect((made as Tensor).dataSync()[9]).toBe(4);
    made?.dispose();
    expect(device.memory().live).toBe(live);
  });

  it.each<[string, RegExp, (x: Tensor) => unknown]>([
    [
      'writing host values',
      /writing values of the host is not possible while work is recorded \(before its/,
      () => tensor([1, 2], { device }),
    ],
    ['reading a value', /reading a value .*\(after the kernel elementwise_\w+\)/, (x) => mul(x, x).dataSync()],
    ['ops that check indices', /reading what movement_gather returns/, (x) => gather(x, indices)],
    ['a nested recording', /recording anything else/, () => device.record(() => {})],
  ])('refuses %s', (_, message, refused) => {
    const x = numbers(4, 1);
    const before = device.memory();
    expect(() => device.record(() => scope(() => refused(x)))).toThrow(RecordingError);
    expect(() => device.record(() => scope(() => refused(x)))).toThrow(message);
    // The device is in the state it had before the recording.
    expect(device.memory()).toEqual({ ...before, highWater: expect.any(Number) });
    expect(sum(x).item()).toBe(4);
  });

  it('refuses to free a tensor made before the recording', () => {
    const there = numbers(4, 1);
    expect(() => device.record(() => there.dispose())).toThrow(
      /freeing memory that was allocated before the recording/,
    );
  });

  it('a replayed training step is bit-identical to eager execution', async () => {
    const config = await configWith('digits', { 'model.nf': 8, 'model.dropout': 0.1, 'training.batch_size': 4 });
    const images = Float32Array.from({ length: 4 * 64 }, (_, i) => Math.sin(i));
    const run = (steps: number, recorded: boolean) => {
      const { model, optimizer } = trainingState(config, device);
      const source = { imageShape: [8, 8, 1] as [number, number, number], batch: async () => images };
      const objective = flowObjective(source, { model, config, device });
      const record = vi.spyOn(device, 'record');
      const notices: string[] = [];
      if (!recorded)
        record.mockImplementation(() => {
          throw new RecordingError('asked for');
        });
      const onNotice = (text: string) => notices.push(text);
      const update = new BatchUpdate({ model, optimizer, objective, device, batchSize: 4, onNotice });
      const results = Array.from({ length: steps }, (_, step) => update.run(step, [images]));
      expect(notices).toHaveLength(recorded ? 0 : 1);
      expect(record).toHaveBeenCalledTimes(1);
      record.mockRestore();
      update[Symbol.dispose]();
      const weights = [...model.stateDict().values()].map((parameter) => parameter.dataSync());
      optimizer.dispose();
      model.dispose();
      return { results, weights };
    };
    expect(run(5, true)).toEqual(run(5, false));
  });
});
