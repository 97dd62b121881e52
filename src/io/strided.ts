// Elements that lie in memory by strides, copied to row-major order.
//
// element (i, j, ..) lies at offset + i * stride_0 + j * stride_1 + .., counted in elements

/** Strides of an array without gaps in row-major (or, reversed, Fortran) order. */
export function denseStrides(shape: readonly number[], order: 'row-major' | 'fortran' = 'row-major'): number[] {
  const strides = shape.map(() => 1);
  const axes = shape.map((_, axis) => (order === 'fortran' ? axis : shape.length - 1 - axis));
  let stride = 1;
  for (const axis of axes) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

/** Whether elements of these strides already lie row by row, without gaps. */
export function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  const dense = denseStrides(shape);
  return shape.includes(0) || shape.every((dim, axis) => dim === 1 || strides[axis] === dense[axis]);
}

/** The elements in row-major order, in memory of their own. The caller has checked that all lie within `bytes`. */
export function toRowMajor(
  bytes: Uint8Array,
  shape: readonly number[],
  strides: readonly number[],
  itemBytes: number,
): Uint8Array {
  const result = new Uint8Array(shape.reduce((product, dim) => product * dim, itemBytes));
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < result.length; to += itemBytes) {
    for (let byte = 0; byte < itemBytes; byte++) result[to + byte] = bytes[from + byte];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis] * itemBytes;
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * itemBytes * shape[axis];
      index[axis] = 0;
    }
  }
  return result;
}

/** The same elements in the other byte order. */
export function swapBytes(bytes: Uint8Array, itemBytes: number): Uint8Array {
  const swapped = new Uint8Array(bytes.length);
  for (let start = 0; start < bytes.length; start += itemBytes)
    for (let byte = 0; byte < itemBytes; byte++) swapped[start + byte] = bytes[start + itemBytes - 1 - byte];
  return swapped;
}
