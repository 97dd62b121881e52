// GELU and GEGLU.
import { checkOptions, type OptionKinds, oneOf } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, exp, mul, sigmoid, square, sub } from './elementwise.ts';
import { elementwiseFamily } from './inner/elementwise_family.ts';
import { all } from './inner/signatures.ts';
import { perElement } from './launch/grid.ts';
import { kernelsFor } from './launch/storage.ts';
import { erf } from './math.ts';
import { split } from './movement.ts';
import { apply, checkActivations, declareOp } from './op.ts';

/** Their last two arguments are rows and width on the CPU, elements and width on CUDA. */
const geglus = {
  ...all(['gelu_geglu_none', 'gelu_geglu_tanh'], 'ptr ptr i32 i32'),
  ...all(['gelu_geglu_none_backward', 'gelu_geglu_tanh_backward'], 'ptr ptr ptr i32 i32'),
};

const gelus = elementwiseFamily(
  ['kernels/gelu.c', 'kernels/gelu.cu'],
  { unary: ['gelu_none', 'gelu_tanh'], gradient: ['gelu_none_backward', 'gelu_tanh_backward'] },
  { cpu: geglus, cuda: geglus },
);

/** Which formula of GELU: x Phi(x) by the error function, or the approximation with tanh of Hendrycks and Gimpel. */
export type GeluApproximation = 'none' | 'tanh';

export interface GeluOptions {
  /** Default 'none'. */
  approximate?: GeluApproximation;
}

const geluOptions: OptionKinds<GeluOptions> = { approximate: oneOf(['none', 'tanh']) };

/** sqrt(8 / pi) */
const STEEPNESS = Math.sqrt(8 / Math.PI);

/** GELU'(x), in ops. */
function slope(x: Tensor, approximate: GeluApproximation): Tensor {
  if (approximate === 'none') {
    const density = mul(exp(mul(square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return add(mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5), mul(x, density));
  }
  const squared = square(x);
  const s = sigmoid(mul(mul(x, add(mul(squared, 0.044715), 1)), STEEPNESS));
  const inner = mul(add(mul(squared, 0.134145), 1), STEEPNESS);
  return mul(s, add(mul(mul(x, sub(1, s)), inner), 1));
}

export const geluOp = declareOp<GeluApproximation>({
  name: 'gelu',
  cpu: gelus.cpu,
  cuda: gelus.cuda,
  backward: ({ grad, saved: [x], attributes }) => [gelus.gradient(`gelu_${attributes}_backward`, grad, x)],
  tangent: ({ tangents: [t], parents: [x], attributes }) => mul(t as Tensor, slope(x as Tensor, attributes)),
});

/**
 * x times the normal distribution function of x (Hendrycks and Gimpel 2016); with `approximate: 'tanh'`
 * x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2.
 * @example
 * gelu(tensor([-1, 0, 1])); // [-0.1587, 0, 0.8413]
 * gelu(tensor([-1, 0, 1]), { approximate: 'tanh' }); // [-0.1588, 0, 0.8412]
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  checkActivations('gelu', [x]);
  const { approximate = 'none' } = checkOptions('gelu', options, geluOptions);
  return apply(geluOp, gelus.unary(`gelu_${approximate}`, x), { parents: [x], saved: [x], attributes: approximate });
}

export const gegluOp = declareOp<GeluApproximation>({
  name: 'geglu',
  cpu: gelus.cpu,
  cuda: gelus.cuda,
  backward({ grad, saved: [x], attributes }) {
    const dx = allocate(x.shape, { device: x.device, dtype: x.dtype });
    launch(x, `gelu_geglu_${attributes}_backward`, [grad.address, x.address, dx.address], grad.size);
    return [dx];
  },
  tangent({ tangents: [t], parents: [x], attributes }) {
    const [[a, b], [ta, tb]] = [x as Tensor, t as Tensor].map((pair) => split(pair, 2, -1));
    return add(mul(ta, gelu(b, { approximate: attributes })), mul(mul(tb, a), slope(b, attributes)));
  },
});

/**
 * The first half of the last axis times the GELU of the second: the gated linear unit of transformers (Shazeer 2020), in
 * the order of diffusers' GEGLU.
 * @param x [..., 2 D]; f32, or on CUDA bf16
 * @returns [..., D]
 * @throws ShapeError if the last axis is odd or missing
 * @example geglu(tensor([[2, 3, 0, 1]])); // [[0, 2.524]]
 */
export function geglu(x: Tensor, options: GeluOptions = {}): Tensor {
  const device = checkActivations('geglu', [x]);
  const { approximate = 'none' } = checkOptions('geglu', options, geluOptions);
  const channels = x.shape.at(-1) ?? 1;
  if (channels % 2 !== 0) throw new ShapeError('geglu', 'an even last axis', formatShape(x.shape));
  const y = allocate([...x.shape.slice(0, -1), channels / 2], { device, dtype: x.dtype });
  launch(x, `gelu_geglu_${approximate}`, [x.address, y.address], y.size);
  return apply(gegluOp, y, { parents: [x], saved: [x], attributes: approximate });
}

function launch(
  { device, dtype, shape }: Tensor,
  kernel: `gelu_geglu_${GeluApproximation}${'' | '_backward'}`,
  addresses: number[],
  size: number,
): void {
  if (size === 0) return;
  const width = (shape.at(-1) as number) / 2;
  if (device.kind === 'cuda')
    kernelsFor(gelus.cuda, device, dtype)[kernel](perElement(size), ...addresses, size, width);
  else device.load(gelus.cpu)[kernel](...addresses, size / width, width);
}
