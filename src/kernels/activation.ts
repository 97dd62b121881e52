// Nonlinearities of networks. One is a line in activation.c and in activation.cu, which is its value and its gradient, and a
// line in the table below; ReLU, SiLU, sigmoid and tanh are in elementwise.ts, GELU in gelu.ts.
import { checkOptions, kinds, refuseExtra } from '../arguments.ts';
import { formatShape, ShapeError, ValueError } from '../errors.ts';
import { broadcastShapes, sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import {
  abs,
  add,
  clamp,
  div,
  exp,
  greater,
  less,
  lessEqual,
  mul,
  neg,
  sigmoid,
  square,
  sub,
  tanh,
  where,
} from './elementwise.ts';
import { elementwiseFamily } from './inner/elementwise_family.ts';
import { binaryKernel } from './inner/elementwise_kernels.ts';
import { binaryFunction, binaryOp } from './inner/elementwise_ops.ts';
import type { Operand } from './inner/operands.ts';
import { apply, checkActivations, declareOp, type Op } from './op.ts';

const KERNELS = [
  'activation_elu',
  'activation_hard_sigmoid',
  'activation_hard_swish',
  'activation_hard_tanh',
  'activation_leaky_relu',
  'activation_log_sigmoid',
  'activation_mish',
  'activation_softplus',
  'activation_softsign',
] as const;

const activation = elementwiseFamily(['kernels/activation.c', 'kernels/activation.cu'], {
  unary: KERNELS,
  gradient: ['activation_prelu_weight', ...KERNELS.map((name) => `${name}_backward` as const)],
  binary: ['activation_prelu', 'activation_prelu_slope'],
});

/** The constants of a kernel. */
export interface Constants {
  p: number;
  q: number;
}

/** The kernel of a function, and the tangent t times its slope, in ops. */
type Rule = [kernel: (typeof KERNELS)[number], tangent: (t: Tensor, x: Tensor, constants: Constants) => Tensor];

/** q x above 0, else p (e^x - 1) */
const elu_: Rule = [
  'activation_elu',
  (t, x, { p, q }) => where(greater(x, 0), mul(t, q), mul(t, mul(exp(clamp(x, { max: 0 })), p))),
];

const rules = {
  elu: elu_,
  hardSigmoid: ['activation_hard_sigmoid', (t, x) => where(less(abs(x), 3), mul(t, 1 / 6), 0)],
  hardSwish: [
    'activation_hard_swish',
    (t, x) => where(lessEqual(x, -3), 0, where(less(x, 3), mul(t, add(mul(x, 1 / 3), 0.5)), t)),
  ],
  hardTanh: ['activation_hard_tanh', (t, x, { p, q }) => where(greater(x, p), where(less(x, q), t, 0), 0)],
  leakyRelu: ['activation_leaky_relu', (t, x, { p }) => where(greater(x, 0), t, mul(t, p))],
  logSigmoid: ['activation_log_sigmoid', (t, x) => mul(t, sigmoid(neg(x)))],
  mish: ['activation_mish', (t, x) => mul(t, mishSlope(x))],
  selu: elu_,
  softplus: ['activation_softplus', (t, x, { p, q }) => where(greater(mul(x, p), q), t, mul(t, sigmoid(mul(x, p))))],
  softsign: ['activation_softsign', (t, x) => div(t, square(add(abs(x), 1)))],
} satisfies Record<string, Rule>;

type Name = keyof typeof rules;

/** tanh(s) + x (1 - tanh(s)^2) sigmoid(x) with s = softplus(x) */
function mishSlope(x: Tensor): Tensor {
  const t = tanh(softplus(x));
  return add(t, mul(mul(x, sub(1, square(t))), sigmoid(x)));
}

function activationOp(name: string, [kernel, tangent]: Rule): Op<Constants> {
  return declareOp<Constants>({
    name,
    cpu: activation.cpu,
    cuda: activation.cuda,
    backward: ({ grad, saved: [x], attributes: { p, q } }) => [
      activation.gradient(`${kernel}_backward`, grad, x, p, q),
    ],
    tangent: ({ tangents: [t], parents: [x], attributes }) => tangent(t as Tensor, x as Tensor, attributes),
  });
}

const unaryOps = Object.fromEntries(
  Object.entries(rules).map(([name, rule]) => [name, activationOp(name, rule as Rule)]),
) as Record<Name, Op<Constants>>;

function activate(name: Name, x: Tensor, p = 0, q = 0): Tensor {
  const y = activation.unary(rules[name][0], x, p, q);
  return apply(unaryOps[name], y, { parents: [x], saved: [x], attributes: { p, q } });
}

/** The function of an op without options. */
/* @__NO_SIDE_EFFECTS__ */
function plain(name: Name, p = 0, q = 0): (x: Tensor) => Tensor {
  return (x, ...extra: unknown[]) => {
    refuseExtra(name, extra);
    checkActivations(name, [x]);
    return activate(name, x, p, q);
  };
}

// ---------------------------------------------------------------- public functions

/**
 * x above 0, else alpha (e^x - 1) (Clevert et al. 2016).
 * @param options.alpha default 1
 * @example elu(tensor([-1, 0, 1])); // [-0.6321, 0, 1]
 */
export function elu(x: Tensor, options: { alpha?: number } = {}): Tensor {
  checkActivations('elu', [x]);
  const { alpha = 1 } = checkOptions('elu', options, { alpha: kinds.finite });
  return activate('elu', x, alpha, 1);
}

/**
 * x above 0, else negativeSlope x (Maas et al. 2013). The gradient at 0 is negativeSlope, as in PyTorch.
 * @param options.negativeSlope default 0.01
 * @example leakyRelu(tensor([-1, 0, 2]), { negativeSlope: 0.1 }); // [-0.1, 0, 2]
 */
export function leakyRelu(x: Tensor, options: { negativeSlope?: number } = {}): Tensor {
  checkActivations('leakyRelu', [x]);
  const { negativeSlope = 0.01 } = checkOptions('leakyRelu', options, { negativeSlope: kinds.finite });
  return activate('leakyRelu', x, negativeSlope);
}

export interface SoftplusOptions {
  /** > 0; default 1. */
  beta?: number;
  /** Where beta x is larger, the result is x; default 20. */
  threshold?: number;
}

/**
 * log(1 + e^(beta x)) / beta, a smooth ReLU.
 * @example softplus(tensor([-1, 0, 1])); // [0.3133, 0.6931, 1.313]
 */
export function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  checkActivations('softplus', [x]);
  const { beta = 1, threshold = 20 } = checkOptions('softplus', options, {
    beta: kinds.positive,
    threshold: kinds.number,
  });
  return activate('softplus', x, beta, threshold);
}

/**
 * Limits x to [min, max]. The gradient is 0 at the bounds, as in PyTorch; that of clamp() is 1 there.
 * @param options.min default -1
 * @param options.max default 1
 * @throws ValueError unless min < max
 * @example hardTanh(tensor([-2, 0.5, 3])); // [-1, 0.5, 1]
 */
export function hardTanh(x: Tensor, options: { min?: number; max?: number } = {}): Tensor {
  checkActivations('hardTanh', [x]);
  const { min = -1, max = 1 } = checkOptions('hardTanh', options, { min: kinds.number, max: kinds.number });
  if (!(min < max)) throw new ValueError(`[hardTanh] expected min < max, got ${min} and ${max}`);
  return activate('hardTanh', x, min, max);
}

/**
 * min(max(x + 3, 0), 6) / 6, a sigmoid of straight lines (Howard et al. 2019).
 * @example hardSigmoid(tensor([-4, 0, 1.5])); // [0, 0.5, 0.75]
 */
export const hardSigmoid = plain('hardSigmoid');
/**
 * x hardSigmoid(x) (Howard et al. 2019).
 * @example hardSwish(tensor([-4, 1, 4])); // [0, 0.6667, 4]
 */
export const hardSwish = plain('hardSwish');
/**
 * log(sigmoid(x)), without overflow.
 * @example logSigmoid(tensor([0, -100])); // [-0.6931, -100]
 */
export const logSigmoid = plain('logSigmoid');
/**
 * x tanh(softplus(x)) (Misra 2019).
 * @example mish(tensor([-1, 0, 2])); // [-0.3034, 0, 1.944]
 */
export const mish = plain('mish');
/** alpha and scale of Klambauer et al. 2017. */
const SELU = { alpha: 1.6732632423543772, scale: 1.0507009873554805 };
/**
 * scale x above 0, else scale alpha (e^x - 1), with the alpha and the scale that keep mean 0 and variance 1 (Klambauer
 * et al. 2017).
 * @example selu(tensor([-1, 0, 1])); // [-1.111, 0, 1.051]
 */
export const selu = plain('selu', SELU.scale * SELU.alpha, SELU.scale);
/**
 * x / (1 + |x|).
 * @example softsign(tensor([-1, 0, 3])); // [-0.5, 0, 0.75]
 */
export const softsign = plain('softsign');

// ---------------------------------------------------------------- PReLU

const binary = (name: 'activation_prelu' | 'activation_prelu_slope') => (a: Operand, b: Operand) =>
  activation.binary('prelu', name, a, b);
const slopes = binary('activation_prelu_slope');

const preluOp = binaryOp(activation, add, 'prelu', {
  saves: 'operands',
  da: (dy, x, weight) => binaryKernel('prelu', 'elementwise_mul', dy, slopes(x, weight)),
  db: (dy, x) => activation.gradient('activation_prelu_weight', dy, x as Tensor),
  tangentA: (t, x, weight) => where(greater(x, 0), t, mul(t, weight)),
  tangentB: (t, x) => mul(t, where(greater(x, 0), 0, x)),
});
const preluOf = binaryFunction(preluOp, binary('activation_prelu'));

/**
 * x above 0, else weight x, with a slope that is learned (He et al. 2015).
 * @param x [..., C]; f32, or on CUDA bf16
 * @param weight [C], one slope for each channel of the last axis, or [1]; any shape that broadcasts to that of x; in
 * the dtype of x
 * @throws ShapeError for a weight that does not broadcast to the shape of x
 * @example prelu(tensor([-2, 3]), tensor([0.25])); // [-0.5, 3]
 */
export function prelu(x: Tensor, weight: Tensor): Tensor;
export function prelu(x: Tensor, weight: Tensor, ...extra: unknown[]): Tensor {
  refuseExtra('prelu', extra);
  checkActivations('prelu', [x, weight]);
  if (!sameShape(broadcastShapes('prelu', x.shape, weight.shape), x.shape))
    throw new ShapeError('prelu', `a weight that broadcasts to ${formatShape(x.shape)}`, formatShape(weight.shape));
  return preluOf(x, weight);
}

/** The ops of this family, by name. */
export const activationOps = { ...unaryOps, prelu: preluOp };
