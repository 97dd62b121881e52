// Reverse mode: a topological sort of the graph and a loop over it. Gradients accumulate in f32; a node's saved
// tensors are freed as soon as its rule has run.
import { DtypeError, formatShape, NotDifferentiableError, ShapeError } from '../errors.ts';
import { accumulate, assertFinite } from '../kernels/accumulate.ts';
import { converted } from '../kernels/conversion.ts';
import { empty, ones, zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import { keep, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import type { BackwardOptions, Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import type { GraphNode } from './graph.ts';
import { isChecking, noGrad } from './mode.ts';

/** Where gradients of leaves go. */
export interface LeafSink {
  wants(leaf: Tensor): boolean;
  /** Takes over ownership of `gradient`. */
  take(leaf: Tensor, gradient: Tensor): void;
}

const intoLeaves: LeafSink = { wants: () => true, take: addToLeaf };

/** From one tensor of a graph, with 1 where it has one element and no cotangent is given. */
export function runBackward(
  node: GraphNode,
  root: Tensor,
  cotangent: Tensor | undefined,
  options: BackwardOptions,
  sink: LeafSink = intoLeaves,
): void {
  const gradient = noGrad(() => scope(() => alias(checkedCotangent(root, cotangent))));
  propagate([{ node, output: root.sourceOutput, gradient }], options, sink);
}

/** Where a gradient enters a graph; `gradient` is handed over. */
export interface Seed {
  node: GraphNode;
  output: number;
  gradient: Tensor;
}

/** From several outputs of a graph down to its leaves, each node once. */
export function propagate(seeds: readonly Seed[], options: BackwardOptions, sink: LeafSink): void {
  const pending = new Map<GraphNode, (Tensor | null)[]>();
  try {
    noGrad(() => {
      for (const { node, output, gradient } of seeds) deliver(pending, node, output, gradient);
      const order = topologicalOrder(seeds.map(({ node }) => node));
      const needed = neededEdges(order, sink);
      for (const current of order) {
        const grads = pending.get(current);
        if (!grads) continue;
        const needs = needed.get(current) as boolean[];
        const results = runRule(current, grads, needs);
        pending.delete(current);
        for (const grad of grads) grad?.dispose();
        if (!options.retainGraph) current.freeSaved();
        current.edges.forEach((edge, i) => {
          const gradient = results[i];
          if (!edge || !needs[i] || !gradient) return gradient?.dispose();
          if ('leaf' in edge) sink.take(edge.leaf, gradient);
          else deliver(pending, edge.node, edge.output, gradient);
        });
      }
    });
  } finally {
    for (const grads of pending.values()) for (const grad of grads) grad?.dispose();
  }
}

function checkedCotangent(root: Tensor, cotangent: Tensor | undefined): Tensor {
  if (!cotangent) {
    if (root.size !== 1)
      throw new ShapeError('backward', 'a tensor of one element, or a cotangent of its shape', formatShape(root.shape));
    return inDtypeOf(root, ones(root.shape, { device: root.device }));
  }
  if (!sameShape(cotangent.shape, root.shape))
    throw new ShapeError('backward', `a cotangent ${formatShape(root.shape)}`, formatShape(cotangent.shape));
  if (cotangent.dtype !== 'f32') throw new DtypeError('backward', 'a cotangent f32', cotangent.dtype);
  return inDtypeOf(root, cotangent);
}

/** A gradient has the dtype of its tensor where ops compute in that, else it is f32. */
function inDtypeOf({ device, dtype }: Tensor, gradient: Tensor): Tensor {
  return device.kind === 'cuda' && dtype === 'bf16' ? converted(gradient, dtype) : gradient;
}

/** Runs one backward rule; the results are references of their own, outside every scope. */
function runRule(node: GraphNode, grads: readonly (Tensor | null)[], needs: readonly boolean[]): (Tensor | null)[] {
  const { saved, attributes } = node;
  if (!saved)
    throw new NotDifferentiableError(
      `[${node.name}] backward() has already run through this graph; pass { retainGraph: true } to the first call`,
    );
  return scope(() => {
    const grad = grads.find((g) => g !== null) as Tensor;
    const results = node.rule({ grad, grads, saved, attributes, needs });
    if (isChecking()) for (const result of results) if (result) assertFinite(node.name, result, 'gradient');
    return results.map((result) => (result ? alias(result) : null));
  });
}

/** Per node, which of its edges lead to a leaf that is wanted: no rule works for the others. */
function neededEdges(order: readonly GraphNode[], sink: LeafSink): Map<GraphNode, boolean[]> {
  const needed = new Map<GraphNode, boolean[]>();
  for (const node of order.toReversed())
    needed.set(
      node,
      node.edges.map((edge) => {
        if (!edge) return false;
        return 'leaf' in edge ? sink.wants(edge.leaf) : (needed.get(edge.node)?.includes(true) ?? false);
      }),
    );
  return needed;
}

/** Children before parents: reverse postorder of a depth-first walk. */
function topologicalOrder(roots: readonly GraphNode[]): GraphNode[] {
  const order: GraphNode[] = [];
  const visited = new Set<GraphNode>();
  for (const root of roots) {
    if (visited.has(root)) continue;
    visited.add(root);
    const stack: { node: GraphNode; next: number }[] = [{ node: root, next: 0 }];
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      const edge = top.node.edges[top.next++];
      if (top.next > top.node.edges.length) {
        order.push(top.node);
        stack.pop();
      } else if (edge && 'node' in edge && !visited.has(edge.node)) {
        visited.add(edge.node);
        stack.push({ node: edge.node, next: 0 });
      }
    }
  }
  return order.reverse();
}

function deliver(pending: Map<GraphNode, (Tensor | null)[]>, node: GraphNode, output: number, gradient: Tensor): void {
  let grads = pending.get(node);
  if (!grads) {
    grads = new Array<Tensor | null>(node.outputs).fill(null);
    pending.set(node, grads);
  }
  const present = grads[output];
  grads[output] = present ? sumOf(present, gradient) : gradient;
}

/** Adds two owned gradients, in place where nothing else sees the memory; the result is owned. */
function sumOf(a: Tensor, b: Tensor): Tensor {
  const [target, other] = isExclusive(a) ? [a, b] : isExclusive(b) ? [b, a] : [copyOf(a), b];
  accumulate(target, other);
  for (const t of [a, b]) if (t !== target) t.dispose();
  return target;
}

function addToLeaf(leaf: Tensor, gradient: Tensor): void {
  leaf.assertAlive('backward()');
  if (leaf.grad) {
    accumulate(leaf.grad, gradient);
    gradient.dispose();
  } else if (isExclusive(gradient)) {
    leaf.grad = gradient;
  } else {
    leaf.grad = copyOf(gradient);
    gradient.dispose();
  }
}

function isExclusive(t: Tensor): boolean {
  return t.storage.references === 1;
}

/** A copy that no scope owns. */
function copyOf(t: Tensor): Tensor {
  const copy = keep(empty(t.shape, { device: t.device, dtype: t.dtype }));
  t.device.copy(copy.address, t.address, t.size * dtypes[t.dtype].bytes);
  return copy;
}

/**
 * d(output)/d(inputs) without touching any `grad`.
 * @param inputs leaves that require a gradient; a leaf that output does not depend on gives zeros
 * @throws NotDifferentiableError for `createGraph`: second derivatives are not offered
 */
export function gradients(
  output: Tensor,
  inputs: readonly Tensor[],
  options: { cotangent?: Tensor; retainGraph?: boolean; createGraph?: boolean } = {},
): Tensor[] {
  if (options.createGraph)
    throw new NotDifferentiableError('[gradients] double backward is not supported: createGraph must be false');
  const found = new Map<Tensor, Tensor>();
  const node = output.source as GraphNode | undefined;
  if (!node) throw new NotDifferentiableError(output.blocked ?? `[gradients] ${output.describe()} has no graph`);
  const wanted = new Set(inputs);
  runBackward(node, output, options.cotangent, options, {
    wants: (leaf) => wanted.has(leaf),
    take(leaf, gradient) {
      const present = found.get(leaf);
      found.set(leaf, present ? sumOf(present, gradient) : gradient);
    },
  });
  return inputs.map((input) => {
    const gradient = found.get(input);
    // Handed to the open scope like any other result.
    if (!gradient) return zeros(input.shape, { device: input.device });
    const { device, dtype, shape, size } = gradient;
    const result = empty(shape, { device, dtype });
    device.copy(result.address, gradient.address, size * dtypes[dtype].bytes);
    gradient.dispose();
    return result;
  });
}
