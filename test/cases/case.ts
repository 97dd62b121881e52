// One op case: what goes in, what the engine runs, what the reference says, and on which sizes it is checked and timed.
// `Size` is whatever parametrises the case, usually the shapes; every other member is a function of it.
import type { Tensor } from '../../src/tensor/tensor.ts';
import type { Tolerance } from '../support/compare.ts';
import type { Input } from '../support/random.ts';
import type { Array64 } from '../support/reference/index.ts';

export interface CaseTolerance {
  value: Tolerance;
  gradient: Tolerance;
  reason: string;
}

/** A whole number between two bounds, inclusive. */
export type Pick = (low: number, high: number) => number;

export interface Case<Size = unknown> {
  /** Name in the op table of src/kernels/index.ts. */
  op: string;
  /** What distinguishes this case from others of its op. */
  name: string;
  /** The dtypes of the engine's outputs; f32 by default. */
  dtype?: 'f32' | 'i32' | 'u8' | 'bool';
  inputs(size: Size): Input[];
  /** Positions of the inputs that stay f32 when activations are bf16: weights, biases. */
  parameters?: readonly number[];
  /** Sizes that are checked in bf16; all by default. */
  inBf16?(size: Size): boolean;
  run(tensors: Tensor[], size: Size): Tensor | Tensor[];
  /** `outputs` are the engine's own, for ops whose random mask has to be recovered from them. */
  reference(arrays: Array64[], size: Size, outputs: Array64[]): Array64 | Array64[];
  /** Is differentiated instead of `reference` if that is a step function (rounding) and the gradient passes straight through. */
  smooth?(arrays: Array64[], size: Size): Array64 | Array64[];
  tolerance: CaseTolerance;
  /** Sizes compared with the reference: small, odd, edge tiles, extents of 1 and 0. */
  check: Size[];
  /** A random size for the property tests. */
  random?(pick: Pick): Size;
  /** Sizes worth timing: layers of DDPM++ on CIFAR-10 at batch 4 unless said otherwise. */
  time?: Size[];
  /** Floating-point operations of the forward, for sizes bound by arithmetic. */
  flops?(size: Size): number;
  /** Bytes the forward must read and write, for sizes bound by memory. */
  bytes?(size: Size): number;
}

/** Infers `Size` from the definition of a case, and erases it for the table. */
export function defineCase<Size>(definition: Case<Size>): Case {
  return definition as Case<unknown>;
}

/** Name of a case at one size, for test titles, bench rows and messages. */
export function describeCase({ op, name }: Case, size?: unknown): string {
  const title = name === '' ? op : `${op} (${name})`;
  return size === undefined ? title : `${title} ${JSON.stringify(size)}`;
}

export const asList = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);

/** A random shape of extents in [low, high]. */
export const randomShape = (pick: Pick, rank: number, low: number, high: number): number[] =>
  Array.from({ length: rank }, () => pick(low, high));

export const tolerances = {
  exact: {
    value: {},
    gradient: { absolute: 1e-6, relative: 1e-6 },
    reason: 'elements move or are chosen unchanged; the gradient may add a few of them',
  },
  rounded: {
    value: { absolute: 1e-37, relative: 1.2e-7 },
    gradient: { absolute: 2e-6, relative: 2e-6, ofLargest: 1e-6 },
    reason: 'one operation rounded to f32 (1 ulp); broadcasting sums its gradient',
  },
  transcendental: {
    value: { absolute: 1e-37, relative: 1e-6 },
    gradient: { absolute: 2e-6, relative: 4e-6, ofLargest: 1e-6 },
    reason: 'polynomial exp, log, sin, cos: a few ulp; the gradient multiplies two of them',
  },
  summed: {
    value: { absolute: 1e-6, relative: 1e-6, ofLargest: 3e-6 },
    gradient: { absolute: 1e-6, relative: 3e-6, ofLargest: 3e-6 },
    reason: 'f32 sums of up to some thousand terms of size 1 with cancellation',
  },
} satisfies Record<string, CaseTolerance>;
