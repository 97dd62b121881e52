// Float64 arrays of the reference: a shape and row-major data.
// The reference is the definition that the engine is tested against, so it is deliberately slow and obvious.

export type Shape = readonly number[];

export interface Array64 {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** Number of elements of a shape; 1 for a scalar `[]`. */
export function count(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export function array64(shape: Shape, data: ArrayLike<number> = new Float64Array(count(shape))): Array64 {
  if (data.length !== count(shape)) throw new Error(`reference: ${data.length} values for shape [${shape}]`);
  return { shape: [...shape], data: new Float64Array(data) };
}

/** The multi-index of a flat row-major position. */
export function indexOf(position: number, shape: Shape): number[] {
  const index = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = position % shape[axis];
    position = Math.floor(position / shape[axis]);
  }
  return index;
}

/** The flat row-major position of a multi-index. */
export function positionOf(index: readonly number[], shape: Shape): number {
  let position = 0;
  for (let axis = 0; axis < shape.length; axis++) position = position * shape[axis] + index[axis];
  return position;
}

export function at(array: Array64, index: readonly number[]): number {
  return array.data[positionOf(index, array.shape)];
}

/** The array whose element at each multi-index is `value(index)`. */
export function generate(shape: Shape, value: (index: number[]) => number): Array64 {
  const result = array64(shape);
  for (let position = 0; position < result.data.length; position++) {
    result.data[position] = value(indexOf(position, shape));
  }
  return result;
}

export function map(array: Array64, f: (value: number) => number): Array64 {
  return array64(array.shape, array.data.map(f));
}

/** NumPy broadcasting: shapes are aligned at the last axis and extents of 1 stretch. */
export function broadcastShape(...shapes: Shape[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    const extents = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return extents.find((extent) => extent !== 1) ?? 1;
  });
}

export function broadcastTo(array: Array64, shape: Shape): Array64 {
  if (`${array.shape}` === `${shape}`) return array;
  const offset = shape.length - array.shape.length;
  return generate(shape, (index) =>
    at(
      array,
      array.shape.map((extent, axis) => (extent === 1 ? 0 : index[axis + offset])),
    ),
  );
}
