// Where the gradients of leaves go: a sink takes them from the backward pass. This one adds to `grad`.
import type { Device } from '../device/device.ts';
import { dtypes } from '../tensor/dtype.ts';
import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { arithmetic, type DeferredGradients } from './arithmetic.ts';
import { type DeferredGradient, isExclusive } from './gradient_parts.ts';
import type { GraphNode } from './graph.ts';
import { isChecking } from './mode.ts';
import { copyOf } from './pending.ts';

export interface LeafSink {
  /** Whether hooks of leaves do not run, because another pass takes the gradients on. */
  readonly ignoresHooks?: boolean;
  wants(leaf: Tensor): boolean;
  /** Called before the gradient of a leaf is computed. @throws UseAfterFreeError where it could not be taken */
  assertReady?(leaf: Tensor): void;
  /** Takes over ownership of `gradient`. */
  take(leaf: Tensor, gradient: Tensor): void;
  /** The tensor at that output of `node`, if its own gradient is wanted too. */
  watched?(node: GraphNode, output: number): Tensor | undefined;
  /** Whether `takeDeferred` accepts a gradient for the leaf. */
  defers?(leaf: Tensor): boolean;
  /** Adds `gradient` to that of the leaf, at the latest in `finish`. Takes over ownership of `gradient`. */
  takeDeferred?(leaf: Tensor, gradient: DeferredGradient): void;
  finish?(): void;
  /** Frees the deferred gradients that are left after a rule has thrown. */
  abandon?(): void;
}

/** Adds to `grad` of the leaves. */
export function accumulateInLeaves(): LeafSink {
  const deferred = new Map<Device, DeferredGradients | undefined>();
  const deferredOn = (device: Device) => {
    if (!deferred.has(device)) deferred.set(device, arithmetic().deferredGradients(device));
    return deferred.get(device);
  };
  return {
    wants: () => true,
    assertReady(leaf) {
      leaf.assertAlive('backward()');
      leaf.grad?.assertAlive(`backward() into the grad of ${leaf.describe()}`);
    },
    take: addToLeaf,
    defers: (leaf) => leaf.grad?.dtype === 'f32' && !isChecking() && deferredOn(leaf.device) !== undefined,
    takeDeferred: (leaf, gradient) => deferredOn(leaf.device)?.add(leaf.grad as Tensor, gradient),
    finish: () => deferred.forEach((gradients) => gradients?.flush()),
    abandon: () => deferred.forEach((gradients) => gradients?.dispose()),
  };
}

function addToLeaf(leaf: Tensor, gradient: Tensor): void {
  if (leaf.grad) {
    // On CUDA a recorded update may leave the old values.
    if (leaf.grad.isCleared && leaf.device.kind === 'cuda' && sameShape(leaf.grad.shape, gradient.shape))
      leaf.device.copy(leaf.grad.address, gradient.address, gradient.size * dtypes[gradient.dtype].bytes);
    else arithmetic().accumulate(leaf.grad, gradient);
    leaf.grad.storage.markWritten();
    gradient.dispose();
  } else if (isExclusive(gradient)) {
    leaf.grad = gradient;
  } else {
    leaf.grad = copyOf(gradient);
    gradient.dispose();
  }
}
