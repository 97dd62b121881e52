// A sample of PyTorch's operator database as the mappings to our functions see it.
import type { Tensor } from '../../src/index.ts';

export interface Sample {
  input: unknown;
  args: unknown[];
  kwargs: Record<string, unknown>;
}

/** A documented difference. */
export class Semantics {
  readonly reason: string;

  constructor(reason: string) {
    this.reason = reason;
  }
}

/** Our result of a sample; undefined for an output that is not compared. */
export type Run = (sample: Sample) => Tensor | (Tensor | undefined)[];

/** An argument by its position after the input, or by its name. */
export function argument<T>({ args, kwargs }: Sample, position: number, name: string, usual: T): T {
  const value = args[position] ?? kwargs[name];
  return (value === undefined || value === null ? usual : value) as T;
}

/** The input, where it is a tensor. */
export const inputOf = ({ input }: Sample): Tensor => input as Tensor;
