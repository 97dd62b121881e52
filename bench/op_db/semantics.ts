// What a mapping from PyTorch's operator database works with: a sample, and a difference that our docs state.
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

export type Run = (sample: Sample) => Tensor | (Tensor | undefined)[];

/** An argument by its position after the input, or by its name. */
export function argument<T>({ args, kwargs }: Sample, position: number, name: string, usual: T): T {
  const value = args[position] ?? kwargs[name];
  return (value === undefined || value === null ? usual : value) as T;
}
