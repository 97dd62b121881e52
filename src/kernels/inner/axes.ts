// A tensor as [outer, length, inner] around some of its axes.
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { permute } from '../movement.ts';

/** The number of elements along the axes before some axes, along these, and along those after them. */
export interface Around {
  outer: number;
  length: number;
  inner: number;
}

/** @param axes one axis, or neighbouring ones in order */
export function around(shape: Shape, ...axes: number[]): Around {
  const first = axes[0] ?? 0;
  const end = first + axes.length;
  const [outer, length, inner] = [shape.slice(0, first), shape.slice(first, end), shape.slice(end)].map(sizeOf);
  return { outer, length, inner };
}

/** x with `axes` (sorted) next to each other, and what they are then: x itself, or a permuted copy with them last. */
export function neighbours(x: Tensor, axes: readonly number[]): { x: Tensor; axes: readonly number[] } {
  if (axes.every((axis, i) => i === 0 || axis === axes[i - 1] + 1)) return { x, axes };
  const kept = [...x.shape.keys()].filter((axis) => !axes.includes(axis));
  return { x: permute(x, [...kept, ...axes]), axes: axes.map((_, i) => kept.length + i) };
}
