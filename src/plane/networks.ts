// Networks for velocities in the plane. A `VelocityNetwork` predicts v from (x, t) directly; a `PotentialNetwork` predicts a potential f,
// of whose gradient v is a function, as in the c-rectified flow (Liu, Rectified Flow: A Marginal Preserving Approach to Optimal Transport,
// arXiv 2209.14577, section 3):
//
//   v = grad c*(grad f(x, t)),  loss E c*(grad f(X_t, t)) - (X_1 - X_0) . grad f(X_t, t) + c(X_1 - X_0)
//   c = |.|^p / p,  c* = |.|^q / q,  1/p + 1/q = 1,  grad c*(g) = |g|^(q-2) g
//
// For p = 2 the loss is half the squared error of v = grad f. Second derivatives are not needed: the gradient of the network is written
// out in ops, through which the loss is differentiated once.

import type { Device } from '../device/device.ts';
import { interpolate, rectifiedFlowLoss } from '../flow/loss.ts';
import { add, mul, pow, square, sub, tanh } from '../kernels/elementwise.ts';
import { matmul } from '../kernels/matmul.ts';
import { concat, reshape, slice } from '../kernels/movement.ts';
import { mean, sum } from '../kernels/reduce.ts';
import { Initializer, Linear, MLP, Module } from '../nn/index.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** A network whose velocity flows follow. Points are in units of the session's scale. */
export interface PlaneNetwork {
  readonly module: Module;
  /** v [N, 2] at x [N, 2] and t [N]. */
  velocity(x: Tensor, t: Tensor): Tensor;
  /** The loss [] of pairs x0, x1 [N, 2] at times t [N]. */
  loss(x0: Tensor, x1: Tensor, t: Tensor): Tensor;
  /** A network of the same kind with the same weights. */
  copy(): PlaneNetwork;
}

export interface NetworkPlan {
  width: number;
  depth: number;
  seed: number;
  device: Device;
  /** p of the cost of a c-rectified flow; undefined for a flow without a potential. */
  potential?: number;
}

export function makeNetwork(plan: NetworkPlan): PlaneNetwork {
  return plan.potential === undefined ? new VelocityNetwork(plan) : new PotentialNetwork(plan, plan.potential);
}

/**
 * What points and times are multiplied by before the first layer. Flows bend within a cluster, which is much smaller than the plane; from
 * inputs of about 1 a network would learn such detail slowly.
 */
const [POINT_GAIN, TIME_GAIN] = [4, 2];

const withTime = (x: Tensor, t: Tensor) => concat([mul(x, POINT_GAIN), mul(reshape(t, [-1, 1]), TIME_GAIN)], 1);

/** The values of a module's tensors, which its copy takes. */
function valuesOf(module: Module) {
  return new Map(
    [...module.namedTensors()].map(([name, t]) => [name, { shape: t.shape, data: t.dataSync() as Float32Array }]),
  );
}

class VelocityNetwork implements PlaneNetwork {
  readonly module: MLP;
  private readonly plan: NetworkPlan;

  constructor(plan: NetworkPlan) {
    const { width, depth, seed, device } = plan;
    this.plan = plan;
    this.module = new MLP([3, ...Array.from({ length: depth }, () => width), 2], new Initializer({ seed, device }));
  }

  velocity(x: Tensor, t: Tensor): Tensor {
    return this.module.forward(withTime(x, t));
  }

  loss(x0: Tensor, x1: Tensor, t: Tensor): Tensor {
    return rectifiedFlowLoss((x, times) => this.velocity(x, times), x1, { x0, t });
  }

  copy(): PlaneNetwork {
    const same = new VelocityNetwork(this.plan);
    same.module.loadStateDict(valuesOf(this.module));
    return same;
  }
}

/** Layers with tanh between them, to one number. */
class Potential extends Module {
  readonly layers: Linear[];
  /** [1, width]. The potential's constant has no effect on its gradient. */
  readonly last: Tensor;

  constructor({ width, depth, seed, device }: NetworkPlan) {
    super();
    const init = new Initializer({ seed, device });
    this.layers = Array.from({ length: depth }, (_, i) => new Linear(i === 0 ? 3 : width, width, init));
    this.last = init.varianceScaling([1, width]);
  }

  /** The gradient [N, 2] with respect to the point of the potential at (x, t) [N, 3]. */
  gradient(input: Tensor): Tensor {
    const hidden: Tensor[] = [];
    for (const layer of this.layers) hidden.push(tanh(layer.forward(hidden.at(-1) ?? input)));
    // Backward through the layers: d tanh = 1 - tanh^2.
    let slope: Tensor = this.last;
    for (let i = this.layers.length - 1; i >= 0; i--)
      slope = matmul(mul(slope, sub(1, square(hidden[i]))), this.layers[i].weight);
    return slice(slope, [0, 0], [input.shape[0], 2]);
  }
}

/** Added to |g|^2, so that a power below 1 has a gradient at 0. */
const TINY = 1e-6;

class PotentialNetwork implements PlaneNetwork {
  readonly module: Potential;
  private readonly plan: NetworkPlan;
  private readonly p: number;
  /** q of the conjugate cost. */
  private readonly q: number;

  constructor(plan: NetworkPlan, p: number) {
    this.plan = plan;
    this.p = p;
    this.q = p / (p - 1);
    this.module = new Potential(plan);
  }

  velocity(x: Tensor, t: Tensor): Tensor {
    const g = this.module.gradient(withTime(x, t));
    return this.q === 2 ? g : mul(pow(squares(g), (this.q - 2) / 2), g);
  }

  loss(x0: Tensor, x1: Tensor, t: Tensor): Tensor {
    const g = this.module.gradient(withTime(interpolate(x0, x1, t), t));
    const direction = sub(x1, x0);
    const conjugate = mul(pow(squares(g), this.q / 2), 1 / this.q);
    const product = sum(mul(g, direction), { axes: [1], keepDims: true });
    const cost = mul(pow(squares(direction), this.p / 2), 1 / this.p);
    return mean(add(sub(conjugate, product), cost));
  }

  copy(): PlaneNetwork {
    const same = new PotentialNetwork(this.plan, this.p);
    same.module.loadStateDict(valuesOf(this.module));
    return same;
  }
}

/** |g|^2 [N, 1]. */
function squares(g: Tensor): Tensor {
  return add(sum(square(g), { axes: [1], keepDims: true }), TINY);
}
