// Large images in tiles that overlap by a quarter and are blended there: the algorithm of diffusers' AutoencoderKL
// (`enable_vae_tiling`).

import { cast } from '../../kernels/cast.ts';
import { add, mul } from '../../kernels/elementwise.ts';
import { concat, reshape, slice } from '../../kernels/movement.ts';
import { linspace } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';

export interface Tiling {
  /** Edge of a tile of the input, in pixels. */
  tile: number;
  /** Pixels of the output for one of the input. */
  ratio: number;
}

const OVERLAP = 1 / 4;

/**
 * f(x), computed in tiles.
 * @param x [N, H, W, C]; one tile if both H and W are at most the tile's edge
 * @param f maps [N, h, w, C] to [N, ratio h, ratio w, D]
 */
export function inTiles(x: Tensor, f: (part: Tensor) => Tensor, { tile, ratio }: Tiling): Tensor {
  const [n, height, width, channels] = x.shape;
  if (height <= tile && width <= tile) return f(x);
  const step = Math.floor(tile * (1 - OVERLAP));
  const edge = tile * ratio;
  const blended = Math.floor(edge * OVERLAP);
  const kept = edge - blended;
  const starts = (size: number) => Array.from({ length: Math.ceil(size / step) }, (_, i) => i * step);
  return scope(() => {
    const rows: Tensor[] = [];
    let above: Tensor[] = [];
    for (const top of starts(height)) {
      const row: Tensor[] = [];
      for (const [column, left] of starts(width).entries()) {
        const end = [n, Math.min(height, top + tile), Math.min(width, left + tile), channels];
        const made = () => scope(() => f(slice(x, [0, top, left, 0], end)));
        const below = () => (above[column] ? scope(() => blend(above[column], made(), 1, blended)) : made());
        row.push(column > 0 ? scope(() => blend(row[column - 1], below(), 2, blended)) : below());
      }
      rows.push(
        scope(() =>
          concat(
            row.map((part) => cut(part, kept)),
            2,
          ),
        ),
      );
      above = row;
    }
    return concat(rows, 1);
  });
}

/** The beginning of a tile, of at most `kept` rows and columns. */
function cut(part: Tensor, kept: number): Tensor {
  const [n, height, width, channels] = part.shape;
  return slice(part, [0, 0, 0, 0], [n, Math.min(height, kept), Math.min(width, kept), channels]);
}

/** `b`, whose first rows (axis 1) or columns (axis 2) change into it from the last ones of `a`. */
function blend(a: Tensor, b: Tensor, axis: 1 | 2, most: number): Tensor {
  const extent = Math.min(a.shape[axis], b.shape[axis], most);
  if (extent === 0) return b;
  const part = (t: Tensor, from: number, to: number) => {
    const [starts, ends] = [t.shape.map(() => 0), [...t.shape]];
    starts[axis] = from;
    ends[axis] = to;
    return slice(t, starts, ends);
  };
  return scope(() => {
    const weights = linspace(0, 1, extent, { endpoint: false, device: b.device });
    const rising = cast(reshape(weights, axis === 1 ? [extent, 1, 1] : [extent, 1]), b.dtype);
    const falling = add(mul(rising, -1), 1);
    const last = part(a, a.shape[axis] - extent, a.shape[axis]);
    const first = part(b, 0, extent);
    return concat([add(mul(last, falling), mul(first, rising)), part(b, extent, b.shape[axis])], axis);
  });
}
