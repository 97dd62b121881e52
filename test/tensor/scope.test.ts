// What scopes free and keep, on the CPU.
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { keep, openDevice, openScope, scope, tensor, UseAfterFreeError } from '../../src/index.ts';
import { view } from '../../src/tensor/view.ts';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});

test('a scope frees everything created in it except its result, however deeply nested', () => {
  const before = device.memory().live;
  const made = scope(() => {
    const inner = scope(() => ({ list: [tensor([1]), tensor([2])], lost: tensor([3]).disposed }));
    tensor([4]);
    return inner;
  });
  expect(made.list.map((t) => t.item())).toEqual([1, 2]);
  for (const t of made.list) t.dispose();
  expect(device.memory().live).toBe(before);
});

test('an exception frees everything', () => {
  const before = device.memory().live;
  expect(() =>
    scope(() => {
      tensor([1, 2, 3]);
      throw new Error('thrown inside');
    }),
  ).toThrow('thrown inside');
  expect(device.memory().live).toBe(before);
});

test('a kept tensor outlives its scope; using disposes; disposing twice is harmless', () => {
  const before = device.memory().live;
  const kept = scope(() => {
    const t = keep(tensor([5]));
    return { value: t.item(), get: () => t };
  });
  expect(kept.get().item()).toBe(5);
  kept.get().dispose();
  kept.get().dispose();
  {
    using t = tensor([6]);
    expect(t.item()).toBe(6);
  }
  expect(device.memory().live).toBe(before);
});

test('a view keeps its memory alive', () => {
  const before = device.memory().live;
  const whole = tensor([1, 2, 3, 4]);
  const tail = view(whole, [2], 2);
  whole.dispose();
  expect([...tail.dataSync()]).toEqual([3, 4]);
  tail.dispose();
  expect(device.memory().live).toBe(before);
});

test('an open scope serves code that awaits', async () => {
  const before = device.memory().live;
  const work = openScope();
  const t = work.run(() => tensor([7]));
  expect((await t.data())[0]).toBe(7);
  work.close();
  expect(t.disposed).toBe(true);
  expect(() => work.run(() => 0)).toThrow('closed');
  expect(device.memory().live).toBe(before);
});

test('use after free names the tensor and the op that used it', () => {
  const t = tensor([1, 2]);
  t.label = 'layer.weight';
  t.dispose();
  expect(() => t.dataSync()).toThrow(UseAfterFreeError);
  expect(() => t.dataSync()).toThrow("data() used tensor 'layer.weight' f32 [2] after it was disposed");
});

test('tensors print as NumPy prints them', () => {
  using t = tensor([
    [1, 2.5],
    [3, -4],
  ]);
  expect(String(t)).toBe('tensor f32 [2, 2]\n[[1, 2.5000],\n [3, -4]]');
});
