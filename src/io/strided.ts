// Copies strided elements to row-major order.
//
// element (i, j, ..) is at offset + i * stride_0 + j * stride_1 + .., counted in elements

/** Strides of a contiguous array in row-major or Fortran (column-major) order, in elements. */
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

/** Returns whether elements with these strides are contiguous in row-major order. */
export function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  const dense = denseStrides(shape);
  return shape.includes(0) || shape.every((dim, axis) => dim === 1 || strides[axis] === dense[axis]);
}

/** Copies the elements to row-major order. The caller has checked that all of them are within `bytes`. */
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

/** Copies the elements with their byte order reversed. */
export function swapBytes(bytes: Uint8Array, itemBytes: number): Uint8Array {
  const swapped = new Uint8Array(bytes.length);
  for (let start = 0; start < bytes.length; start += itemBytes)
    for (let byte = 0; byte < itemBytes; byte++) swapped[start + byte] = bytes[start + itemBytes - 1 - byte];
  return swapped;
}
