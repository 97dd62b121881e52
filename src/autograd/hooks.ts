// The hooks that Tensor.registerHook() adds: they see, and may replace, the gradient of a tensor within a backward pass.
import { formatShape, ShapeError } from '../errors.ts';
import { activeScope, scratch } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import { type GradientHook, requireTensor, type Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import type { DeferredGradient } from './gradient_parts.ts';
import type { GraphNode } from './graph.ts';
import type { LeafSink } from './leaves.ts';
import { sumOf } from './pending.ts';

/**
 * What the hooks make of a gradient. Takes over ownership of `gradient`, and the caller owns the result.
 * @throws ShapeError for a hook that returns a tensor of another shape or dtype
 */
export function runHooks(hooks: Iterable<GradientHook>, gradient: Tensor): Tensor {
  let current = gradient;
  try {
    // A copy: a hook that another one adds runs from the next pass on.
    for (const hook of [...hooks]) current = runHook(hook, current);
    return current;
  } catch (error) {
    current.dispose();
    throw error;
  }
}

function runHook(hook: GradientHook, gradient: Tensor): Tensor {
  return scratch(() => {
    // The hook gets a handle of its own, which it cannot free for others.
    const given = alias(gradient);
    activeScope()?.adopt(given);
    const result = hook(given);
    if (result === undefined) return gradient;
    requireTensor('registerHook', result, 'a hook that returns a tensor or nothing');
    const { shape, dtype, device } = gradient;
    if (!sameShape(result.shape, shape) || result.dtype !== dtype || result.device !== device)
      throw new ShapeError('registerHook', `a hook that returns ${dtype} ${formatShape(shape)}`, result.describe());
    const replaced = alias(result);
    gradient.dispose();
    return replaced;
  });
}

/** A sink whose leaves with hooks get the sum of a whole pass, after their hooks. */
export class HookedLeaves implements LeafSink {
  private readonly sink: LeafSink;
  private readonly sums = new Map<Tensor, Tensor>();

  constructor(sink: LeafSink) {
    this.sink = sink;
  }

  wants(leaf: Tensor): boolean {
    return this.sink.wants(leaf);
  }

  assertReady(leaf: Tensor): void {
    this.sink.assertReady?.(leaf);
  }

  watched(node: GraphNode, output: number): Tensor | undefined {
    return this.sink.watched?.(node, output);
  }

  defers(leaf: Tensor): boolean {
    return !this.hasHooks(leaf) && (this.sink.defers?.(leaf) ?? false);
  }

  takeDeferred(leaf: Tensor, gradient: DeferredGradient): void {
    this.sink.takeDeferred?.(leaf, gradient);
  }

  take(leaf: Tensor, gradient: Tensor): void {
    const sum = this.sums.get(leaf);
    if (this.hasHooks(leaf)) this.sums.set(leaf, sum ? sumOf(sum, gradient) : gradient);
    else this.sink.take(leaf, gradient);
  }

  private hasHooks(leaf: Tensor): boolean {
    return !this.sink.ignoresHooks && (leaf.leafHooks?.size ?? 0) > 0;
  }

  finish(): void {
    for (const [leaf, sum] of this.sums) {
      this.sums.delete(leaf);
      this.sink.take(leaf, runHooks(leaf.leafHooks ?? [], sum));
    }
    this.sink.finish?.();
  }

  abandon(): void {
    for (const sum of this.sums.values()) sum.dispose();
    this.sums.clear();
    this.sink.abandon?.();
  }
}
