// Images with channels last, as this package computes, and with channels first, as PyTorch's files have them.

export type ImagesShape = readonly [n: number, h: number, w: number, c: number];

/** [N, H, W, C] to [N, C, H, W]. */
export function channelsFirst(values: Float32Array, [n, h, w, c]: ImagesShape): Float32Array {
  return transposed(values, n, h * w, c);
}

/** [N, C, H, W] to [N, H, W, C]; the shape is that of the result. */
export function channelsLast(values: Float32Array, [n, h, w, c]: ImagesShape): Float32Array {
  return transposed(values, n, c, h * w);
}

/** [n, rows, columns] to [n, columns, rows]. */
function transposed(values: Float32Array, n: number, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let i = 0; i < n; i++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++) out[(i * columns + c) * rows + r] = values[(i * rows + r) * columns + c];
  return out;
}
