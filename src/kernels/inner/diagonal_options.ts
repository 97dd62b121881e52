// The option of the functions of diagonals and triangles.
import { checkOptions, kinds, type OptionKinds } from '../../arguments.ts';

export interface DiagonalOptions {
  /** The diagonal: 0 (default) is the main one, k > 0 lies k columns to the right, k < 0 lies -k rows below. */
  offset?: number;
}

const diagonalOptions: OptionKinds<DiagonalOptions> = { offset: kinds.integer };

/** The checked offset. */
export function offsetOf(op: string, options: DiagonalOptions): number {
  return checkOptions(op, options, diagonalOptions).offset ?? 0;
}
