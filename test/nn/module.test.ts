// Modules that contain themselves, whose traversal would not end, and states that match in part.
import { expect, test } from 'vitest';
import { Module } from '../../src/nn/index.ts';
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
