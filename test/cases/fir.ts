// Cases of FIR resampling: kernels of any length, even, odd and asymmetric, and any factors and paddings.
import { type FirOptions, firDownsample, firResample, firUpsample } from '../../src/kernels/fir.ts';
import { normal } from '../support/random.ts';
import * as reference from '../support/reference/index.ts';
import { type Case, type CaseTolerance, defineCase, type Pick } from './case.ts';

type Shape = reference.Shape;

interface Size {
  shape: Shape;
  kernel: number[];
}

const tolerance: CaseTolerance = {
  value: { absolute: 2e-6, relative: 1e-6 },
  gradient: { absolute: 3e-6, relative: 2e-6 },
  reason: 'f32 sums of at most 49 products whose factors are below 8, in value and gradient',
};

const binomial = [1, 3, 3, 1];
/** Taps are positive, because a sum near 0 would make the filter's gain huge. */
const randomKernel = (pick: Pick) => Array.from({ length: pick(1, 7) }, () => pick(1, 5));

const sizes: Size[] = [
  { shape: [1, 2, 2, 1], kernel: binomial },
  { shape: [2, 4, 6, 3], kernel: binomial },
  { shape: [1, 6, 2, 17], kernel: binomial },
  { shape: [2, 4, 4, 32], kernel: binomial },
  { shape: [1, 4, 6, 5], kernel: [1] },
  { shape: [1, 4, 6, 5], kernel: [1, 1] },
  { shape: [1, 6, 4, 5], kernel: [1, 2, 1] },
  { shape: [1, 4, 4, 2], kernel: [1, 2, 4] },
  { shape: [1, 4, 2, 3], kernel: [5, 1, 0, 2, -1, 3] },
  { shape: [1, 2, 4, 3], kernel: [1, 6, 15, 20, 15, 6, 1] },
  { shape: [0, 2, 2, 3], kernel: binomial },
];

function doubling(name: 'up' | 'down'): Case {
  const [run, expected] =
    name === 'up' ? [firUpsample, reference.firUpsample] : [firDownsample, reference.firDownsample];
  return defineCase<Size>({
    op: 'firResample',
    name,
    inputs: ({ shape }) => [normal(shape)],
    run: ([x], { kernel }) => run(x, kernel),
    reference: ([x], { kernel }) => expected(x, kernel),
    tolerance,
    check: sizes,
    random: (pick) => ({
      shape: [pick(0, 2), 2 * pick(1, 3), 2 * pick(1, 3), pick(1, 18)],
      kernel: randomKernel(pick),
    }),
    time: [{ shape: name === 'up' ? [4, 16, 16, 256] : [4, 32, 32, 128], kernel: binomial }],
    bytes: ({ shape }) => reference.count(shape) * (name === 'up' ? 20 : 5),
  });
}

const general = defineCase<Size & { options: FirOptions }>({
  op: 'firResample',
  name: 'any factors and padding',
  inputs: ({ shape }) => [normal(shape)],
  run: ([x], { kernel, options }) => firResample(x, kernel, options),
  reference: ([x], { kernel, options }) => reference.firResample(x, kernel, options),
  tolerance,
  check: [
    { shape: [1, 5, 7, 3], kernel: [2, 1], options: {} },
    { shape: [1, 3, 5, 4], kernel: binomial, options: { padding: [2, 2] } },
    { shape: [1, 3, 5, 4], kernel: [1, 2, 3], options: { up: 3, down: 2, padding: [3, 1] } },
    { shape: [1, 6, 6, 2], kernel: [1, 2], options: { down: 3, padding: [-1, -2] } },
    { shape: [1, 1, 1, 1], kernel: binomial, options: { up: 2, padding: [6, 5] } },
  ],
  random: (pick) => {
    const kernel = randomKernel(pick);
    // The padding leaves at least one position for the filter.
    const padding = [pick(0, 3) + kernel.length, pick(-1, 3)] as const;
    return {
      shape: [pick(1, 2), pick(1, 5), pick(1, 5), pick(1, 5)],
      kernel,
      options: { up: pick(1, 3), down: pick(1, 3), padding },
    };
  },
});

/** `firResample` comes first, because tests of messages use the first case of an op. */
export const firCases: Case[] = [general, doubling('up'), doubling('down')];
