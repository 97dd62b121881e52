/** Modules that hold themselves: a walk through them would have no end. */
import { expect, test } from 'vitest';
import { Module } from '../../src/nn/index.ts';

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
    'a child that holds its parent',
    () => {
      const [parent, child] = [new Node(), new Node()];
      parent.child = [child];
      child.child = parent;
      return parent;
    },
    'child.0.child',
  ],
  [
    'a list that holds itself',
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

test('a module that two others hold is no cycle', () => {
  const [outer, shared] = [new Node(), new Node()];
  outer.child = [shared, shared];
  expect(outer.stateDict().size).toBe(0);
  expect(outer.eval().training).toBe(false);
});
