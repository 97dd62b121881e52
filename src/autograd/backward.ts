// Reverse-mode differentiation: a topological sort of the graph, and a loop over it that runs the backward rule of each
// node. pending.ts sums the gradients that arrive at a node; leaves.ts takes those of leaves.
import { NotDifferentiableError } from '../errors.ts';
import { scratch } from '../tensor/scope.ts';
import type { BackwardOptions, Tensor } from '../tensor/tensor.ts';
import { arithmetic } from './arithmetic.ts';
import { startingGradient } from './cotangent.ts';
import {
  computedTensors,
  type DeferredGradient,
  type GradientPart,
  isDeferred,
  retainGradient,
  ScaledGradient,
} from './gradient_parts.ts';
import type { Edge, GraphNode } from './graph.ts';
import { HookedLeaves, runHooks } from './hooks.ts';
import { accumulateInLeaves, type LeafSink } from './leaves.ts';
import { activeLevels, isChecking, noGrad } from './mode.ts';
import { PendingGradients, prepareGradient, referenceTo, takeTensor } from './pending.ts';

/** The gradient of one output of a node, from which a pass starts. The pass takes over ownership of `gradient`. */
export interface Seed {
  node: GraphNode;
  output: number;
  gradient: Tensor;
}

/**
 * A pass that starts at one tensor, by default with gradient 1 and with the gradients of leaves added to their `grad`.
 */
export function runBackward(
  node: GraphNode,
  root: Tensor,
  cotangent: Tensor | undefined,
  options: BackwardOptions,
  sink: LeafSink = accumulateInLeaves(),
): void {
  propagate([{ node, output: root.sourceOutput, gradient: startingGradient(root, cotangent) }], options, sink);
}

/**
 * Propagates gradients from several outputs down to the leaves, running the rule of each node once. What a node saved
 * is freed as soon as its rule has run, except for what a deferred gradient of a leaf still reads.
 */
export function propagate(seeds: readonly Seed[], options: BackwardOptions, leaves: LeafSink): void {
  const inForwardMode = activeLevels().length > 0;
  const sink = new HookedLeaves(leaves);
  const pending = new PendingGradients();
  try {
    noGrad(() => {
      for (const { node, output, gradient } of seeds) pending.add(node, output, new ScaledGradient(gradient));
      if (inForwardMode)
        throw new NotDifferentiableError(
          '[backward] expected no jvp() around it: its gradients would have no tangents. Take gradients of the result of jvp() instead',
        );
      const order = topologicalOrder(seeds.map(({ node }) => node));
      const needed = neededEdges(order, sink);
      for (const node of order) {
        const gradients = pending.gradientsOf(node);
        if (!gradients) continue;
        for (const [output, hooks] of node.hooks) {
          const gradient = gradients[output];
          if (gradient && hooks.size > 0)
            gradients[output] = pending.replace(node, output, runHooks(hooks, referenceTo(gradient)));
        }
        gradients.forEach((gradient, output) => {
          const watched = gradient && sink.watched?.(node, output);
          if (watched) sink.take(watched, referenceTo(gradient));
        });
        const needs = needed.get(node) as boolean[];
        if (!needs.includes(true)) {
          pending.free(node);
          continue;
        }
        const results = runRule(node, gradients, needs, sink, pending);
        pending.free(node);
        if (!options.retainGraph) node.freeSaved();
        node.edges.forEach((edge, i) => {
          const result = results[i];
          if (!result) return;
          if (!edge || !needs[i]) result.dispose();
          else if (isDeferred(result)) sink.takeDeferred?.((edge as { leaf: Tensor }).leaf, result);
          else if ('leaf' in edge) sink.take(edge.leaf, takeTensor(result));
          else pending.add(edge.node, edge.output, result);
        });
      }
      sink.finish?.();
    });
  } finally {
    sink.abandon?.();
    pending.dispose();
  }
}

/** Children before parents: the reverse postorder of a depth-first walk. */
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

/** For each node, which of its edges lead to a wanted leaf or a watched tensor. Rules skip the others. */
function neededEdges(order: readonly GraphNode[], sink: LeafSink): Map<GraphNode, boolean[]> {
  const needed = new Map<GraphNode, boolean[]>();
  const isNeeded = (edge: Edge) => {
    if (!edge) return false;
    if ('leaf' in edge) return sink.wants(edge.leaf);
    return sink.watched?.(edge.node, edge.output) !== undefined || (needed.get(edge.node)?.includes(true) ?? false);
  };
  for (const node of order.toReversed()) needed.set(node, node.edges.map(isNeeded));
  return needed;
}

function isLeaf(edge: Edge): edge is { leaf: Tensor } {
  return edge !== undefined && 'leaf' in edge;
}

/** Runs the backward rule of a node. The caller owns the results, whatever scope is open. */
function runRule(
  node: GraphNode,
  arrived: readonly (ScaledGradient | null)[],
  needs: readonly boolean[],
  sink: LeafSink,
  pending: PendingGradients,
): (GradientPart | DeferredGradient | null)[] {
  node.edges.forEach((edge, i) => {
    if (needs[i] && isLeaf(edge)) sink.assertReady?.(edge.leaf);
  });
  const { saved, attributes } = node;
  if (!saved)
    throw new NotDifferentiableError(
      `[${node.name}] backward() has already run through this graph; pass { retainGraph: true } to the first call`,
    );
  node.assertUnwritten();
  return scratch(() => {
    const scaled = arrived.map((gradient) => gradient && prepareGradient(gradient, node.takesScaled));
    const grads = scaled.map((gradient) => gradient?.tensor ?? null);
    const grad = grads.find((t) => t !== null) as Tensor;
    const defers = node.edges.map((edge, i) => needs[i] && isLeaf(edge) && (sink.defers?.(edge.leaf) ?? false));
    const join = (i: number) => (needs[i] ? pending.receivedBy(node.edges, i) : []);
    const results = node.rule({ grad, grads, scaled, saved, attributes, needs, defers, join });
    if (isChecking()) for (const t of computedTensors(results)) arithmetic().assertFinite(node.name, t, 'gradient');
    return results.map((result) => result && retainGradient(result));
  });
}
