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
  /** Writes the index of each image above it. Default false. */
  labels?: boolean;
}

const gridOptions: OptionKinds<GridOptions> = {
  columns: kinds.count,
  padding: kinds.whole,
  scale: kinds.count,
  labels: kinds.boolean,
};

/** Size limit of a grid: a larger PNG file could not be read back (png.ts). */
const MOST_BYTES = 2 ** 30;

/**
 * Arranges images in a grid.
 * @param images u8 [N, H, W, C], N >= 1
 * @throws ValueError if shape and data do not match
 * @example
 * const images = new Uint8Array(6 * 8 * 8).fill(255);
 * const { width, height } = imageGrid(images, [6, 8, 8, 1], { columns: 3 });
 * ({ width, height }); // { width: 32, height: 22 }
 */
export function imageGrid(images: Uint8Array, shape: readonly number[], options: GridOptions = {}): Image {
  checkArgument('imageGrid', 'images', images, kinds.bytes);
  const dims = wholeNumbers('imageGrid', 'shape', shape);
  const [n, h, w, c] = dims;
  if (dims.length !== 4 || !dims.every((dim) => dim >= 1) || images.length !== n * h * w * c)
    throw new ValueError(
      `[imageGrid] expected u8 images [N, H, W, C], got ${images.length} bytes for ${formatShape(dims)}`,
    );
  const { scale = 1, padding: between = 2, labels = false, ...asked } = checkOptions('imageGrid', options, gridOptions);
  const padding = n === 1 ? 0 : between;
  const dots = labels ? dotSize(w * scale, n) : 0;
  const head = labels ? (DIGIT_HEIGHT + 2) * dots : 0;
  const columns = Math.min(n, asked.columns ?? Math.floor(Math.sqrt(n)));
  const width = columns * (w * scale + padding) + padding;
  const height = Math.ceil(n / columns) * (head + h * scale + padding) + padding;
  if (width * height * c > MOST_BYTES)
    throw new ValueError(`[imageGrid] expected a grid of at most 1 GiB, got ${width} x ${height} pixels of ${c} bytes`);
  const data = new Uint8Array(width * height * c);
  for (let i = 0; i < n; i++) {
    const left = padding + (i % columns) * (w * scale + padding);
    const row = padding + Math.floor(i / columns) * (head + h * scale + padding);
    const top = row + head;
    if (labels)
      drawNumber(i, dots, (x, y) => {
        if (x < w * scale) data.fill(255, ((row + y) * width + left + x) * c, ((row + y) * width + left + x + 1) * c);
      });
    for (let y = 0; y < h * scale; y++)
      for (let x = 0; x < w * scale; x++) {
        const from = ((i * h + Math.floor(y / scale)) * w + Math.floor(x / scale)) * c;
        const to = ((top + y) * width + left + x) * c;
        for (let channel = 0; channel < c; channel++) data[to + channel] = images[from + channel];
      }
  }
  return { width, height, channels: c, data };
}

/** The digits 0 to 9: five rows of three dots, a bit for each dot. */
const DIGITS = ['75557', '26227', '71747', '71717', '55711', '74717', '74757', '71111', '75757', '75717'];
const DIGIT_HEIGHT = 5;
const DIGIT_WIDTH = 3;

/** Pixels of a dot of the digits: about a quarter of an image's width for a digit, as far as all digits fit. */
function dotSize(width: number, count: number): number {
  const digits = String(count - 1).length;
  return Math.max(1, Math.min(Math.floor(width / 16), Math.floor(width / (digits * (DIGIT_WIDTH + 1)))));
}

/** Calls `dot` with each white pixel of a number, from its top left corner. */
function drawNumber(value: number, size: number, dot: (x: number, y: number) => void): void {
  for (const [place, digit] of [...String(value)].entries())
    for (const [row, bits] of [...DIGITS[Number(digit)]].entries())
      for (let column = 0; column < DIGIT_WIDTH; column++) {
        if (((Number(bits) >> (DIGIT_WIDTH - 1 - column)) & 1) === 0) continue;
        for (let y = 0; y < size; y++)
          for (let x = 0; x < size; x++) dot((place * (DIGIT_WIDTH + 1) + column) * size + x, (row + 1) * size + y);
      }
}
