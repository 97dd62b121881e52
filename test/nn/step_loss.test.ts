// The loss that Adam.minimize returns: its value on every device, when it waits for the device, and how long it can be read.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { Device } from '../../src/device/device.ts';
import { RecordingError, UseAfterFreeError, ValueError } from '../../src/errors.ts';
import { cast, mul, randn, square, sub, sum, type Tensor, tensor } from '../../src/index.ts';
import { Adam, Linear, Module } from '../../src/nn/index.ts';
import { Initializer } from '../../src/nn/init.ts';
import { LOSSES_KEPT, type StepLoss } from '../../src/nn/step_loss.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-step-loss-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

class One extends Module {
  w: Tensor;

  constructor(device: Device) {
    super();
    this.w = tensor([3], { device, requiresGrad: true });
  }
}

describe.each([...new Set([...deviceNames, 'wasm'])])('on %s', (name) => {
  let device: Device;
  let layer: Linear;
  let optimizer: Adam;
  beforeEach(async () => {
    device = await openTestDevice(name);
    layer = new Linear(4, 2, new Initializer({ seed: 1, device }));
    optimizer = new Adam(layer, { learningRate: 0.05 });
  });
  afterEach(() => {
    optimizer.dispose();
    layer.dispose();
  });

  /** A loss that depends on the step and on the weights. */
  const lossOf = (step: number) => {
    const x = randn([8, 4], { seed: step, device });
    return sum(square(sub(layer.forward(x), 1)));
  };
  const minimize = (step: number) => optimizer.minimize(() => lossOf(step));

  test('each handle has the loss of its own step, in whatever order they are read', () => {
    const values: number[] = [];
    const handles: StepLoss[] = [];
    for (let step = 0; step < 5; step++) {
      values.push(scope(() => lossOf(step).item()));
      handles.push(minimize(step));
    }
    expect(new Set(values).size).toBe(5);
    for (const step of [4, 0, 2, 2]) expect(handles[step].item()).toBe(values[step]);
  });

  test('a loss in the memory of a parameter is the one from before the update', () => {
    using model = new One(device);
    const adam = new Adam(model, { learningRate: 0.5 });
    const loss = adam.minimize(() => sum(model.w, { axes: 0, keepDims: true }));
    expect([loss.item(), Math.fround(model.w.item())]).toEqual([3, 2.5]);
    adam.dispose();
  });

  test('a handle that is too old says so, and the ones after it can be read', () => {
    const handles = Array.from({ length: LOSSES_KEPT + 2 }, (_, step) => minimize(step % 7));
    const stale =
      '[StepLoss.item] expected a loss of the last 128 steps, got one with 129 steps after it; read it sooner';
    expect(() => handles[0].item()).toThrow(new ValueError(stale));
    expect(() => handles[1].item()).toThrow('with 128 steps after it');
    const values = handles.slice(2).map((handle) => handle.item());
    expect(values.every(Number.isFinite)).toBe(true);
    expect(values.at(-1)).not.toBe(values[0]);
  });

  test('handles that are kept keep no device memory', () => {
    const kept = [minimize(0), minimize(1)];
    const { live } = device.memory();
    for (let step = 2; step < 40; step++) kept.push(minimize(step));
    expect(device.memory().live).toBe(live);
    expect(kept.map((handle) => handle.item()).every(Number.isFinite)).toBe(true);
    expect(device.memory().live).toBe(live);
  });

  test('a minimize that fails gives no handle and leaves the others as they are', () => {
    const before = minimize(0);
    const value = before.item();
    expect(() => optimizer.minimize(() => randn([2], { seed: 0, device }))).toThrow('backward()');
    const rows = () => optimizer.minimize(() => layer.forward(randn([8, 4], { seed: 0, device })));
    expect(rows).toThrow('expected a tensor of one element');
    expect(before.item()).toBe(value);
    expect(minimize(1).item()).not.toBe(value);
  });

  test('a recorded step that is replayed leaves it as it is, and it cannot be read or made while work is recorded', () => {
    const before = minimize(0);
    const value = before.item();
    const x = randn([8, 4], { seed: 9, device });
    const cotangent = tensor(1, { device });
    const work = () =>
      scope(() => {
        sum(square(layer.forward(x))).backward(cotangent);
        optimizer.update();
      });
    // Once op by op, which compiles and uploads what a recording cannot.
    optimizer.advance();
    work();
    optimizer.advance();
    using recording = device.record(work);
    const replay = () => {
      optimizer.advance();
      recording.replay();
    };
    recording.replay();
    const [expected, between] = [scope(() => lossOf(1).item()), minimize(1)];
    replay();
    replay();
    expect([before.item(), between.item()]).toEqual([value, expected]);
    const refusal = (work: () => unknown) => () => device.record(() => void work());
    expect(refusal(() => before.item())).toThrow(RecordingError);
    expect(refusal(() => minimize(2))).toThrow(RecordingError);
    expect([before.item(), between.item()]).toEqual([value, expected]);
    for (const made of [x, cotangent]) made.dispose();
  });

  test('a handle of an optimiser that is disposed is refused', () => {
    using model = new One(device);
    const adam = new Adam(model);
    const loss = adam.minimize(() => sum(mul(model.w, 2)));
    adam.dispose();
    expect(() => loss.item()).toThrow(UseAfterFreeError);
    expect(() => loss.item()).toThrow(/^\[StepLoss\.item\] .* of a disposed optimiser; read it sooner$/);
  });
});

describe.runIf(deviceNames.includes('cuda-emulated'))('on the emulated card', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  test('minimize waits for nothing, and item() for one copy', async () => {
    await openTestDevice('cuda-emulated');
    // Memory that was freed is used again, as by default: giving it back to the driver waits.
    using device = new CudaDevice(0, { caching: true });
    using layer = new Linear(4, 2, new Initializer({ seed: 1, device }));
    const optimizer = new Adam(layer);
    const step = (seed: number) =>
      optimizer.minimize(() => sum(square(layer.forward(randn([8, 4], { seed, device })))));
    step(0);
    const log = join(folder, 'calls');
    let read = 0;
    const calls = () => {
      const all = existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [];
      const fresh = all.slice(read);
      read = all.length;
      return fresh;
    };
    vi.stubEnv('FAKECUDA_CALLS', log);
    const handles = Array.from({ length: 10 }, (_, seed) => step(seed));
    const made = calls();
    const waits = (names: string[]) => names.filter((call) => /Synchronize|DtoH|MemFree|MemAlloc/.test(call));
    expect(made.filter((call) => call === 'cuLaunchKernelEx').length).toBeGreaterThan(10);
    // One keeps the loss, and one makes the gradient 1 from which backward starts.
    expect(made.filter((call) => call === 'cuMemcpyDtoDAsync_v2')).toHaveLength(20);
    expect(waits(made)).toEqual([]);
    expect(handles[3].item()).toBeGreaterThan(0);
    const asked = calls();
    expect(asked.filter((call) => call.includes('DtoH'))).toHaveLength(1);
    expect(waits(asked)).toHaveLength(2);
    optimizer.dispose();
  });

  test('a loss in bf16 is read as a number', async () => {
    const device = await openTestDevice('cuda-emulated');
    using model = new One(device);
    const optimizer = new Adam(model);
    const loss = optimizer.minimize(() => cast(sum(mul(model.w, 1.25)), 'bf16'));
    expect(loss.item()).toBe(3.75);
    optimizer.dispose();
  });
});
