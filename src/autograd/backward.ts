// Reverse mode: a topological sort of the graph and a loop over it. Gradients accumulate in f32; a node's saved
// tensors are freed as soon as its rule has run, unless a leaf's gradient waits for others (kernels/leaf_gradients.ts).
import { DtypeError, formatShape, NotDifferentiableError, ShapeError } from '../errors.ts';
import { accumulate, accumulateScaled, assertFinite } from '../kernels/accumulate.ts';
import { converted } from '../kernels/conversion.ts';
import { LeafGradients } from '../kernels/leaf_gradients.ts';
import { empty, ones, zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import { activeScope, keep, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import type { BackwardOptions, Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { type Deferred, Flow, isDeferred, isExclusive } from './flow.ts';
import type { Edge, GraphNode } from './graph.ts';
import { isChecking, noGrad } from './mode.ts';

/** Where gradients of leaves go. */
export interface LeafSink {
  wants(leaf: Tensor): boolean;
  /** Takes over ownership of `gradient`. */
  take(leaf: Tensor, gradient: Tensor): void;
  /** Whether `later` takes what shall be added to the leaf's gradient, by `finish` at the latest. */
  defers?(leaf: Tensor): boolean;
  /** Takes over ownership of `gradient`. */
  later?(leaf: Tensor, gradient: Deferred): void;
  finish?(): void;
}

/** Adds to `grad` of the leaves. */
function intoLeaves(): LeafSink {
  const late = new LeafGradients();
  return {
    wants: () => true,
    take: addToLeaf,
    defers: (leaf) => leaf.device.kind === 'cuda' && leaf.grad?.dtype === 'f32' && !isChecking(),
    later: (leaf, gradient) => late.add(leaf.grad as Tensor, gradient),
    finish: () => late.flush(),
  };
}

/** From one tensor of a graph, with 1 where it has one element and no cotangent is given. */
export function runBackward(
  node: GraphNode,
  root: Tensor,
  cotangent: Tensor | undefined,
  options: BackwardOptions,
  sink: LeafSink = intoLeaves(),
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
  const pending = new Map<GraphNode, (Flow | null)[]>();
  try {
    noGrad(() => {
      for (const { node, output, gradient } of seeds) deliver(pending, node, output, new Flow(gradient));
      const order = topologicalOrder(seeds.map(({ node }) => node));
      const needed = neededEdges(order, sink);
      for (const current of order) {
        const flows = pending.get(current);
        if (!flows) continue;
        const needs = needed.get(current) as boolean[];
        const results = runRule(current, flows, {
          needs,
          defers: current.edges.map((edge, i) => needs[i] && isLeaf(edge) && (sink.defers?.(edge.leaf) ?? false)),
          joins: joinsOf(pending, current.edges, needs),
        });
        pending.delete(current);
        for (const flow of flows) flow?.dispose();
        if (!options.retainGraph) current.freeSaved();
        current.edges.forEach((edge, i) => {
          const result = results[i];
          if (!edge || !needs[i] || !result) return result?.dispose();
          if (isDeferred(result)) sink.later?.((edge as { leaf: Tensor }).leaf, result);
          else if ('leaf' in edge) sink.take(edge.leaf, tensorOf(result));
          else deliver(pending, edge.node, edge.output, result);
        });
      }
      sink.finish?.();
    });
  } finally {
    for (const flows of pending.values()) for (const flow of flows) flow?.dispose();
  }
}

function isLeaf(edge: Edge): edge is { leaf: Tensor } {
  return edge !== undefined && 'leaf' in edge;
}

/** What each parent has so far; of one that is a parent twice, nothing. */
function joinsOf(
  pending: Map<GraphNode, (Flow | null)[]>,
  edges: readonly Edge[],
  needs: readonly boolean[],
): (Flow | undefined)[] {
  return edges.map((edge, i) => {
    if (!edge || !needs[i] || 'leaf' in edge) return undefined;
    const twice = edges.some((e, j) => j !== i && e && 'node' in e && e.node === edge.node && e.output === edge.output);
    return twice ? undefined : (pending.get(edge.node)?.[edge.output] ?? undefined);
  });
}

/** The plain tensor of a gradient that is owned, owned in its place. */
function tensorOf(flow: Flow): Tensor {
  const { tensor, factor } = flow;
  const plain = factor === 1 ? alias(tensor) : scaled(tensor, factor);
  flow.dispose();
  return plain;
}

function scaled(t: Tensor, factor: number): Tensor {
  const product = keep(empty(t.shape, { device: t.device, dtype: t.dtype }));
  accumulateScaled(product, undefined, t, factor);
  return product;
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
function runRule(
  node: GraphNode,
  flows: readonly (Flow | null)[],
  edges: { needs: readonly boolean[]; defers: readonly boolean[]; joins: readonly (Flow | undefined)[] },
): (Flow | Deferred | null)[] {
  const { saved, attributes } = node;
  if (!saved)
    throw new NotDifferentiableError(
      `[${node.name}] backward() has already run through this graph; pass { retainGraph: true } to the first call`,
    );
  return scope(() => {
    const plain = (flow: Flow | null) =>
      flow && (flow.factor === 1 || node.takesFlows ? flow.tensor : adopted(scaled(flow.tensor, flow.factor)));
    const grads = flows.map(plain);
    const grad = grads.find((g) => g !== null) as Tensor;
    const results = node.rule({ grad, grads, flows, saved, attributes, ...edges });
    if (isChecking())
      for (const result of results) {
        const made = result instanceof Flow ? result.tensor : result;
        if (made && 'shape' in made) assertFinite(node.name, made, 'gradient');
      }
    return results.map((result) => {
      if (!result) return null;
      return (result instanceof Flow || isDeferred(result) ? result : new Flow(result)).map((t) => alias(t));
    });
  });
}

/** Owned by the open scope. */
function adopted(t: Tensor): Tensor {
  activeScope()?.adopt(t);
  return t;
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

function deliver(pending: Map<GraphNode, (Flow | null)[]>, node: GraphNode, output: number, flow: Flow): void {
  let flows = pending.get(node);
  if (!flows) {
    flows = new Array<Flow | null>(node.outputs).fill(null);
    pending.set(node, flows);
  }
  const present = flows[output];
  if (present && flow.joined) {
    present.dispose();
    flows[output] = flow;
  } else flows[output] = present ? new Flow(merged(present, flow)) : flow;
}

/** The sum of two owned gradients, owned; with one factor in one pass. */
function merged(a: Flow, b: Flow): Tensor {
  const [target, other] = a.factor === 1 ? [a, b] : [b, a];
  if (target.factor !== 1 || other.factor === 1 || !isExclusive(target.tensor)) return sumOf(tensorOf(a), tensorOf(b));
  accumulateScaled(target.tensor, target.tensor, other.tensor, other.factor);
  other.dispose();
  return tensorOf(target);
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
