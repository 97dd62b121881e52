// Prints a tensor: rows of numbers as in NumPy, shortened in the middle when there are many.
import type { Tensor } from './tensor.ts';

const EDGE = 3;
const MOST = 1000;

export function formatTensor(tensor: Tensor): string {
  const { shape, dtype } = tensor;
  if (dtype === 'bf16' || dtype === 'f16') return `${tensor.describe()} (cast to f32 to print)`;
  const data = tensor.dataSync();
  const shorten = tensor.size > MOST;
  const number = (value: number) => (Number.isInteger(value) ? `${value}` : value.toPrecision(5));
  const row = (offset: number, axis: number, indent: string): string => {
    if (axis === shape.length) return number(data[offset]);
    const stride = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
    const count = shape[axis];
    // For an axis without elements only the brackets are shown, however long the axis is.
    const indices: (number | undefined)[] =
      count * stride === 0
        ? []
        : shorten && count > 2 * EDGE
          ? [0, 1, 2, undefined, count - 3, count - 2, count - 1]
          : Array.from({ length: count }, (_, i) => i);
    const items = indices.map((i) => (i === undefined ? '...' : row(offset + i * stride, axis + 1, `${indent} `)));
    return `[${items.join(axis === shape.length - 1 ? ', ' : `,\n${indent} `)}]`;
  };
  return `${tensor.describe()}\n${row(0, 0, '')}`;
}
