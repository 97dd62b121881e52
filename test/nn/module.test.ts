// Modules that contain themselves, whose traversal would not end, and states: of tensors or arrays, and those that match in part.
import { describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { Initializer, MLP, Module } from '../../src/nn/index.ts';
import { tensor } from '../../src/tensor/create.ts';
import { openTestDevice } from '../support/devices.ts';

class Node extends Module {
  child: unknown;
}

test.each<[string, () => Node, string]>([
  [
    'a module',
    () => {
      const node = new Node();
      node.child = node;
      return node;
    },
    'child',
  ],
  [
    'a child that contains its parent',
    () => {
      const [parent, child] = [new Node(), new Node()];
      parent.child = [child];
      child.child = parent;
      return parent;
    },
    'child.0.child',
  ],
  [
    'a list that contains itself',
    () => {
      const node = new Node();
      const list: unknown[] = [];
      list.push(list);
      node.child = list;
      return node;
    },
    'child.0',
  ],
])('%s is refused by name', (_, make, path) => {
  const message = `[Module] expected children without a cycle, got "${path}"`;
  expect(() => make().stateDict()).toThrow(message);
  expect(() => make().eval()).toThrow(message);
  expect(() => make().parameterCount()).toThrow(message);
});

test('accepts a module with two parents, which is not a cycle', () => {
  const [outer, shared] = [new Node(), new Node()];
  outer.child = [shared, shared];
  expect(outer.stateDict().size).toBe(0);
  expect(outer.eval().training).toBe(false);
});

test('changes nothing for a state that cannot be loaded completely', async () => {
  await openTestDevice('cpu');
  class Counting extends Module {
    weight = tensor([1, 2], { requiresGrad: true });
    count = tensor([0], { dtype: 'i32' });
  }
  const model = new Counting();
  const state = new Map([
    ['weight', { shape: [2], data: Float32Array.of(7, 7) }],
    ['count', { shape: [1], data: Float32Array.of(3) }],
  ]);
  expect(() => model.loadStateDict(state)).toThrow('[loadStateDict] expected f32 as "count", got tensor i32 [1]');
  expect(Array.from(model.weight.dataSync())).toEqual([1, 2]);
});

describe('loadStateDict', () => {
  const network = (seed: number, device: Device) => new MLP([3, 4, 2], new Initializer({ seed, device }));
  const values = (module: Module) => [...module.stateDict()].map(([name, t]) => [name, Array.from(t.dataSync())]);

  test('takes the tensors of another module, on its device and on another one', async () => {
    const cpu = await openTestDevice('cpu');
    const other = await openDevice('cpu', { threads: 1, exact: true });
    using from = network(1, cpu);
    for (const device of [cpu, other]) {
      using to = network(2, device);
      expect(to.loadStateDict(from.stateDict())).toEqual({ missing: [], unknown: [], misshapen: [] });
      expect(values(to)).toEqual(values(from));
    }
  });

  test('takes an object of tensors and arrays, in part if asked to', async () => {
    const device = await openTestDevice('cpu');
    using model = network(1, device);
    const before = values(model);
    const bias = tensor([1, 2], { device });
    const given = { 'layers.1.bias': bias, 'layers.0.bias': { shape: [4], data: Float32Array.of(3, 4, 5, 6) } };
    expect(() => model.loadStateDict(given)).toThrow('2 missing: layers.0.weight, layers.1.weight');
    expect(values(model)).toEqual(before);
    model.loadStateDict(given, 'state', { partial: true });
    expect(values(model)).toEqual([before[0], ['layers.0.bias', [3, 4, 5, 6]], before[2], ['layers.1.bias', [1, 2]]]);
  });

  test('refuses tensors that are not f32, and values of another kind', async () => {
    const device = await openTestDevice('cpu');
    using model = network(1, device);
    const whole = {
      ...Object.fromEntries(model.stateDict()),
      'layers.1.bias': tensor([1, 2], { device, dtype: 'i32' }),
    };
    expect(() => model.loadStateDict(whole)).toThrow(
      '[loadStateDict] expected f32 for "layers.1.bias", got tensor i32 [2]',
    );
    expect(() => model.loadStateDict({ a: 5 } as never)).toThrow('[loadStateDict] expected values of "a" to be');
    expect(() => model.loadStateDict([] as never)).toThrow('[loadStateDict] expected values to be a Map or an object');
  });
});
