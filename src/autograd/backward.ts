// Reverse mode: a topological sort of the graph and a loop over it. Gradients accumulate in f32; a node's saved
// tensors are freed as soon as its rule has run, unless a leaf's gradient waits for others (kernels/inner/leaf_gradients.ts).
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { ArgumentError, DeviceError, DtypeError, formatShape, NotDifferentiableError, ShapeError } from '../errors.ts';
import { accumulate, accumulateScaled, assertFinite } from '../kernels/inner/accumulate.ts';
import { converted } from '../kernels/inner/conversion.ts';
import { joinedProduct } from '../kernels/inner/joined_product.ts';
import { LeafGradients } from '../kernels/inner/leaf_gradients.ts';
import { columnsOf } from '../kernels/inner/strided.ts';
import { allocate } from '../tensor/allocate.ts';
import { ones, zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import { keep, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { type BackwardOptions, describeOperand, requireTensor, type Tensor, tensorKind } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { type Deferred, Flow, isDeferred, isExclusive, ProductFlow } from './flow.ts';
import type { Edge, GraphNode } from './graph.ts';
import { isChecking, noGrad } from './mode.ts';

/** Where gradients of leaves go. */
export interface LeafSink {
  wants(leaf: Tensor): boolean;
  /** Asked before the gradient of a leaf is computed. @throws UseAfterFreeError where it cannot be taken */
  assertReady?(leaf: Tensor): void;
  /** Takes over ownership of `gradient`. */
  take(leaf: Tensor, gradient: Tensor): void;
  /** The tensor whose whole gradient is asked for besides those of leaves, where it is that output of `node`. */
  watched?(node: GraphNode, output: number): Tensor | undefined;
  /** Whether `later` takes what shall be added to the leaf's gradient, by `finish` at the latest. */
  defers?(leaf: Tensor): boolean;
  /** Takes over ownership of `gradient`. */
  later?(leaf: Tensor, gradient: Deferred): void;
  finish?(): void;
  /** Frees what waits, after a rule that failed. */
  abandon?(): void;
}

/** Adds to `grad` of the leaves. */
function intoLeaves(): LeafSink {
  const late = new LeafGradients();
  return {
    wants: () => true,
    assertReady(leaf) {
      leaf.assertAlive('backward()');
      leaf.grad?.assertAlive(`backward() into the grad of ${leaf.describe()}`);
    },
    take: addToLeaf,
    defers: (leaf) => leaf.device.kind === 'cuda' && leaf.grad?.dtype === 'f32' && !isChecking(),
    later: (leaf, gradient) => late.add(leaf.grad as Tensor, gradient),
    finish: () => late.flush(),
    abandon: () => late.dispose(),
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
  propagate([{ node, output: root.sourceOutput, gradient: entering(root, cotangent) }], options, sink);
}

/** The gradient that a pass begins with, as a reference that the caller owns. */
function entering(root: Tensor, cotangent: Tensor | undefined): Tensor {
  return noGrad(() => scope(() => alias(checkedCotangent(root, cotangent))));
}

/** Where a gradient enters a graph; `gradient` is handed over. */
export interface Seed {
  node: GraphNode;
  output: number;
  gradient: Tensor;
}

/** From several outputs of a graph down to its leaves, each node once. */
export function propagate(seeds: readonly Seed[], options: BackwardOptions, sink: LeafSink): void {
  const pending: Pending = new Map();
  try {
    noGrad(() => {
      for (const { node, output, gradient } of seeds) deliver(pending, node, output, new Flow(gradient));
      const order = topologicalOrder(seeds.map(({ node }) => node));
      const needed = neededEdges(order, sink);
      for (const current of order) {
        const arrived = pending.get(current);
        if (!arrived) continue;
        const needs = needed.get(current) as boolean[];
        for (const parts of arrived) combine(parts, 1);
        const flows = arrived.map(([flow]) => (flow as Flow | undefined) ?? null);
        flows.forEach((flow, output) => {
          const watched = flow && sink.watched?.(current, output);
          if (watched) sink.take(watched, referenceTo(flow));
        });
        if (!needs.includes(true)) {
          pending.delete(current);
          for (const flow of flows) flow?.dispose();
          continue;
        }
        current.edges.forEach((edge, i) => {
          if (needs[i] && isLeaf(edge)) sink.assertReady?.(edge.leaf);
        });
        const results = runRule(current, flows, {
          needs,
          defers: current.edges.map((edge, i) => needs[i] && isLeaf(edge) && (sink.defers?.(edge.leaf) ?? false)),
          join: (i) => (needs[i] ? joinsOf(pending, current.edges, i) : []),
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
    sink.abandon?.();
    for (const arrived of pending.values()) for (const part of arrived.flat()) part.dispose();
  }
}

/** What has arrived at each output of a node, the sum of which is its gradient; one part at most is plain. */
type Pending = Map<GraphNode, (Flow | ProductFlow)[][]>;

function isLeaf(edge: Edge): edge is { leaf: Tensor } {
  return edge !== undefined && 'leaf' in edge;
}

/** What parent i has so far; of one that is a parent twice, nothing. */
function joinsOf(pending: Pending, edges: readonly Edge[], i: number): readonly Flow[] {
  const edge = edges[i];
  if (!edge || 'leaf' in edge) return [];
  const twice = edges.some((e, j) => j !== i && e && 'node' in e && e.node === edge.node && e.output === edge.output);
  if (twice) return [];
  const parts = pending.get(edge.node)?.[edge.output] ?? [];
  combine(parts, 2);
  return parts as Flow[];
}

/** Sums owned parts until there are at most that many, all of them flows. */
function combine(parts: (Flow | ProductFlow)[], most: number): void {
  const products = parts.filter((part) => part instanceof ProductFlow);
  if (products.length > 0) {
    const rest = parts.filter((part) => part instanceof Flow);
    const sum = keep(joinedProduct(products));
    for (const product of products) product.dispose();
    parts.splice(0, parts.length, ...rest, new Flow(sum));
  }
  const flows = parts as Flow[];
  while (flows.length > most) flows.splice(0, 2, new Flow(merged(flows[0], flows[1])));
}

/** The plain tensor of a gradient that is owned, owned in its place. */
function tensorOf(part: Flow | ProductFlow): Tensor {
  const owned = referenceTo(part);
  part.dispose();
  return owned;
}

/** The plain tensor of a gradient, as a reference that the caller owns. */
function referenceTo(part: Flow | ProductFlow): Tensor {
  const plain = keep(plainOf(part));
  return part instanceof Flow && plain === part.tensor ? alias(plain) : plain;
}

/** Its own tensor where it is plain, else a new one. */
function plainOf(part: Flow | ProductFlow): Tensor {
  if (part instanceof ProductFlow) return joinedProduct([part]);
  const { tensor, factor, columns } = part;
  const whole = columns ? columnsOf(tensor, columns) : tensor;
  if (factor === 1) return whole;
  const product = scaled(whole, factor);
  if (whole !== tensor) whole.dispose();
  return product;
}

function scaled(t: Tensor, factor: number): Tensor {
  const product = allocate(t.shape, { device: t.device, dtype: t.dtype });
  accumulateScaled(product, undefined, t, factor);
  return product;
}

function checkedCotangent(root: Tensor, cotangent: Tensor | undefined): Tensor {
  if (cotangent === undefined) {
    if (root.size !== 1)
      throw new ShapeError('backward', 'a tensor of one element, or a cotangent of its shape', formatShape(root.shape));
    return inDtypeOf(root, ones(root.shape, { device: root.device }));
  }
  requireTensor('backward', cotangent, 'a cotangent that is a tensor');
  cotangent.assertAlive('backward()');
  if (cotangent.device !== root.device)
    throw new DeviceError(`[backward] expected a cotangent on ${root.device.name}, got ${cotangent.device.name}`);
  if (!sameShape(cotangent.shape, root.shape))
    throw new ShapeError('backward', `a cotangent ${formatShape(root.shape)}`, formatShape(cotangent.shape));
  if (cotangent.dtype !== 'f32') throw new DtypeError('backward', 'a cotangent f32', cotangent.dtype);
  return inDtypeOf(root, cotangent);
}

function inDtypeOf(t: Tensor, gradient: Tensor): Tensor {
  const dtype = gradientDtype(t);
  return gradient.dtype === dtype ? gradient : converted(gradient, dtype);
}

/** A gradient has the dtype of its tensor where ops compute in that, else it is f32. */
function gradientDtype({ device, dtype }: Tensor): 'f32' | 'bf16' {
  return device.kind === 'cuda' && dtype === 'bf16' ? 'bf16' : 'f32';
}

/** Runs one backward rule; the results are references of their own, outside every scope. */
function runRule(
  node: GraphNode,
  arrived: readonly (Flow | null)[],
  edges: { needs: readonly boolean[]; defers: readonly boolean[]; join: (i: number) => readonly Flow[] },
): (Flow | ProductFlow | Deferred | null)[] {
  const { saved, attributes } = node;
  if (!saved)
    throw new NotDifferentiableError(
      `[${node.name}] backward() has already run through this graph; pass { retainGraph: true } to the first call`,
    );
  node.assertUnwritten();
  return scope(() => {
    // Of an op that takes flows only columns are cut out.
    const flows = arrived.map((flow) => {
      if (!flow || flow.plain || (node.takesFlows && !flow.columns)) return flow;
      return new Flow(plainOf(flow));
    });
    const grads = flows.map((flow) => flow?.tensor ?? null);
    const grad = grads.find((g) => g !== null) as Tensor;
    const results = node.rule({ grad, grads, flows, saved, attributes, ...edges });
    if (isChecking())
      for (const result of results) {
        const made = result instanceof ProductFlow ? result.dy : result instanceof Flow ? result.tensor : result;
        if (made && 'storage' in made) assertFinite(node.name, made, 'gradient');
      }
    return results.map((result) => {
      if (!result) return null;
      return ('storage' in result ? new Flow(result) : result).map((t) => alias(t));
    });
  });
}

/** Per node, which of its edges lead to a leaf that is wanted or to a tensor that is watched: no rule works for the others. */
function neededEdges(order: readonly GraphNode[], sink: LeafSink): Map<GraphNode, boolean[]> {
  const needed = new Map<GraphNode, boolean[]>();
  for (const node of order.toReversed())
    needed.set(
      node,
      node.edges.map((edge) => {
        if (!edge) return false;
        if ('leaf' in edge) return sink.wants(edge.leaf);
        return sink.watched?.(edge.node, edge.output) !== undefined || (needed.get(edge.node)?.includes(true) ?? false);
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

function deliver(pending: Pending, node: GraphNode, output: number, part: Flow | ProductFlow): void {
  let arrived = pending.get(node);
  if (!arrived) {
    arrived = Array.from({ length: node.outputs }, () => []);
    pending.set(node, arrived);
  }
  const parts = arrived[output];
  if (part instanceof Flow && part.joined) for (const present of parts.splice(0)) present.dispose();
  const present = parts.findIndex(isPlain);
  if (present >= 0 && isPlain(part)) parts[present] = new Flow(merged(parts[present] as Flow, part));
  else parts.push(part);
}

function isPlain(part: Flow | ProductFlow): part is Flow {
  return part instanceof Flow && part.plain;
}

/** The sum of two owned gradients, owned; with one factor in one pass. */
function merged(a: Flow, b: Flow): Tensor {
  const [target, other] = a.plain ? [a, b] : [b, a];
  if (!target.plain || other.plain || other.columns || !isExclusive(target.tensor))
    return sumOf(tensorOf(a), tensorOf(b));
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
  if (leaf.grad) {
    accumulate(leaf.grad, gradient);
    leaf.grad.storage.written();
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
  const copy = keep(allocate(t.shape, { device: t.device, dtype: t.dtype }));
  t.device.copy(copy.address, t.address, t.size * dtypes[t.dtype].bytes);
  return copy;
}

export interface GradientOptions extends BackwardOptions {
  /** f32, of output's shape; may be left out for a tensor of one element (then 1). */
  cotangent?: Tensor;
  /** Second derivatives are not offered: true is refused. */
  createGraph?: boolean;
}

const gradientOptions: OptionKinds<GradientOptions> = {
  cotangent: tensorKind,
  retainGraph: kinds.boolean,
  createGraph: kinds.boolean,
};

/**
 * d(output)/d(inputs) without touching any `grad`.
 * @param inputs leaves that require a gradient, and tensors that ops computed from such; one may be listed twice. One that
 * output does not depend on gives zeros
 * @returns a new tensor for each input, of its shape
 * @throws NotDifferentiableError for an input that requires no gradient, for an output that depends on nothing that does, and
 * for `createGraph`: second derivatives are not offered; UseAfterFreeError for a disposed tensor
 */
export function gradients(output: Tensor, inputs: readonly Tensor[], given: GradientOptions = {}): Tensor[] {
  const options = checkOptions('gradients', given, gradientOptions);
  requireTensor('gradients', output, 'an output tensor');
  if (!Array.isArray(inputs)) throw new ArgumentError('gradients', 'a list of input tensors', describeOperand(inputs));
  for (const input of inputs) requireTensor('gradients', input, 'a list of input tensors');
  if (options.createGraph)
    throw new NotDifferentiableError('[gradients] double backward is not supported: createGraph must be false');
  output.assertAlive('[gradients]');
  for (const input of inputs) {
    input.assertAlive('[gradients]');
    if (!input.requiresGrad)
      throw new NotDifferentiableError(input.blocked ?? `[gradients] ${input.describe()} requires no gradient`);
  }
  if (!output.requiresGrad)
    throw new NotDifferentiableError(output.blocked ?? `[gradients] ${output.describe()} has no graph`);
  const wanted = new Set(inputs);
  const computed = new Map<GraphNode, Tensor[]>();
  for (const input of wanted) {
    const node = input.source as GraphNode | undefined;
    if (!node) continue;
    const outputs = computed.get(node) ?? [];
    outputs[input.sourceOutput] = input;
    computed.set(node, outputs);
  }
  const found = new Map<Tensor, Tensor>();
  const sink: LeafSink = {
    wants: (leaf) => wanted.has(leaf),
    watched: (node, index) => computed.get(node)?.[index],
    take(input, gradient) {
      const present = found.get(input);
      found.set(input, present ? sumOf(present, gradient) : gradient);
    },
  };
  try {
    const node = output.source as GraphNode | undefined;
    if (node) runBackward(node, output, options.cotangent, options, sink);
    else if (wanted.has(output)) sink.take(output, entering(output, options.cotangent));
    // Handed to the open scope like any other result, each in memory of its own.
    return inputs.map((input) => {
      const { device, shape } = input;
      const gradient = found.get(input);
      if (!gradient) return zeros(shape, { device, dtype: gradientDtype(input) });
      const result = allocate(shape, { device, dtype: gradient.dtype });
      device.copy(result.address, gradient.address, gradient.size * dtypes[gradient.dtype].bytes);
      return result;
    });
  } finally {
    for (const gradient of found.values()) gradient.dispose();
  }
}
