// The check of the fast kernels of group normalisation.
import { enableGrad, withLevels } from '../../autograd/mode.ts';
import type { CheckResult, FastCheck } from '../../device/fast_builds.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { add, mul } from '../elementwise.ts';
import type { GroupNormOptions } from '../group_norm.ts';
import { Draw, inCheck, numbersOf } from './draw.ts';

type GroupNorm = (x: readonly Tensor[], weight: Tensor, bias: Tensor, options: GroupNormOptions) => Tensor;

interface Normalisation extends GroupNormOptions {
  /** [N, H, W] */
  image: readonly [number, number, number];
  /** The channels of each of one or two parts. */
  channels: readonly number[];
}

const dropout = { p: 0.25, seed: 3 };

/** One for each kernel: its slices, its flags, and an image that does not fit into shared memory. */
const normalisations: readonly Normalisation[] = [
  { image: [3, 7, 6], channels: [64, 32], groups: 24, activation: 'silu' },
  { image: [3, 5, 9], channels: [96], groups: 8, activation: 'silu', dropout },
  { image: [2, 6, 4], channels: [32, 32], groups: 32, dropout },
  { image: [2, 5, 3], channels: [64], groups: 16, activation: 'silu', resample: 'up' },
  { image: [2, 4, 6], channels: [64], groups: 16, activation: 'silu', resample: 'down', dropout },
  { image: [1, 64, 50], channels: [32], groups: 8, activation: 'silu' },
];

/** Values and all gradients, also where x has received another gradient already. */
export function groupNormCheck(groupNorm: GroupNorm): FastCheck {
  return (device, build, seed) =>
    inCheck(() => {
      const draw = new Draw(device, build, seed);
      // Traced, also inside noGrad and jvp.
      return enableGrad(() => withLevels([], () => normalisations.flatMap((one) => compute(groupNorm, draw, one))));
    });
}

function compute(groupNorm: GroupNorm, draw: Draw, { image, channels, ...options }: Normalisation): CheckResult[] {
  const total = channels.reduce((sum, count) => sum + count);
  const parts = channels.map((count) => draw.tensor([...image, count]).requireGrad());
  const [weight, bias] = [draw.tensor([total], 'f32'), draw.tensor([total], 'f32')].map((t) => t.requireGrad());
  const inner = parts.map((part) => mul(part, 0.5));
  const y = groupNorm(inner, weight, bias, options);
  const values = numbersOf(y);
  // The first gradient that the first part receives is this one.
  const joins = channels.length === 1 && (options.resample ?? 'none') === 'none';
  const result = joins ? add(y, inner[0]) : y;
  result.backward(draw.tensor(result.shape, 'f32'));
  const title = `a group norm of [${[...image, total].join(', ')}]`;
  const gradients = [...parts, weight, bias].map((leaf, i) => {
    const { grad } = leaf;
    leaf.grad = null;
    using taken = grad as Tensor;
    return closely(`gradient ${i} of ${title}`, taken);
  });
  return [{ what: title, values, tolerance: toleranceOf(y) }, ...gradients];
}

/** Sums are added in another order, and exponentials may be of less precision in bf16. */
const toleranceOf = ({ dtype }: Tensor) => (dtype === 'bf16' ? 2 ** -6 : 2 ** -14);

const closely = (what: string, t: Tensor): CheckResult => ({ what, values: numbersOf(t), tolerance: toleranceOf(t) });
