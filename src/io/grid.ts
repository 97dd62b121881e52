// Arranges images in a grid on black, row by row, as torchvision.utils.make_grid does.
//
// image i is at row floor(i / columns), column i mod columns, with `padding` pixels around and between images
// width = columns * (W * scale + padding) + padding, height likewise with ceil(N / columns) rows
import { checkArgument, checkOptions, kinds, type OptionKinds, wholeNumbers } from '../arguments.ts';
import { formatShape, ValueError } from '../errors.ts';
import type { Image } from './png.ts';

export interface GridOptions {
  /** Images per row. Default floor(sqrt(N)), as in the official sample grids. */
  columns?: number;
  /** Black pixels around and between the images. Default 2. A single image gets none, as in torchvision. */
  padding?: number;
  /** Repeats every pixel of an image this number of times in both directions. Default 1. */
  scale?: number;
}

const gridOptions: OptionKinds<GridOptions> = { columns: kinds.count, padding: kinds.whole, scale: kinds.count };

/** Size limit of a grid: a larger PNG file could not be read back (png.ts). */
const MOST_BYTES = 2 ** 30;

/**
 * Arranges images in a grid.
 * @param images u8 [N, H, W, C], N >= 1
 * @throws ValueError if shape and data do not match
 */
export function imageGrid(images: Uint8Array, shape: readonly number[], options: GridOptions = {}): Image {
  checkArgument('imageGrid', 'images', images, kinds.bytes);
  const dims = wholeNumbers('imageGrid', 'shape', shape);
  const [n, h, w, c] = dims;
  if (dims.length !== 4 || !dims.every((dim) => dim >= 1) || images.length !== n * h * w * c)
    throw new ValueError(
      `[imageGrid] expected u8 images [N, H, W, C], got ${images.length} bytes for ${formatShape(dims)}`,
    );
  const { scale = 1, padding: between = 2, ...asked } = checkOptions('imageGrid', options, gridOptions);
  const padding = n === 1 ? 0 : between;
  const columns = Math.min(n, asked.columns ?? Math.floor(Math.sqrt(n)));
  const width = columns * (w * scale + padding) + padding;
  const height = Math.ceil(n / columns) * (h * scale + padding) + padding;
  if (width * height * c > MOST_BYTES)
    throw new ValueError(`[imageGrid] expected a grid of at most 1 GiB, got ${width} x ${height} pixels of ${c} bytes`);
  const data = new Uint8Array(width * height * c);
  for (let i = 0; i < n; i++) {
    const left = padding + (i % columns) * (w * scale + padding);
    const top = padding + Math.floor(i / columns) * (h * scale + padding);
    for (let y = 0; y < h * scale; y++)
      for (let x = 0; x < w * scale; x++) {
        const from = ((i * h + Math.floor(y / scale)) * w + Math.floor(x / scale)) * c;
        const to = ((top + y) * width + left + x) * c;
        for (let channel = 0; channel < c; channel++) data[to + channel] = images[from + channel];
      }
  }
  return { width, height, channels: c, data };
}
