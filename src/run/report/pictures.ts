// The pictures of a report: strips of samples, in which the same column comes from the same noise, and paths.
import type { Trajectory } from '../../flow/index.ts';
import { encodePng, imageGrid } from '../../io/index.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { captionsOf } from '../captions/captions.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';
import { isTransfer } from '../source.ts';
import { NARROW, type Picture } from './html.ts';

const PADDING = 1;
/** Screen pixels of a small image, at least. */
const LEGIBLE = 32;

export interface StripLayout {
  columns: number;
  rows: number;
  /** Screen pixels for each pixel. */
  scale: number;
}

/** A strip is as wide as a panel of the page; images of many pixels are fewer, and their strip is scaled down. */
export function stripLayout(config: Config): StripLayout {
  const { image_size: size } = config.data;
  const classes = captionsOf(config)?.table.slice(1).length;
  if (classes !== undefined) {
    // A column for each caption, where they fit.
    const scale = Math.floor(NARROW / (classes * (size + PADDING) + PADDING));
    if (scale >= 1) return { columns: classes, rows: 2, scale };
  }
  const scale = Math.max(1, Math.floor(LEGIBLE / size));
  const fitting = Math.floor((NARROW / scale - PADDING) / (size + PADDING));
  return { columns: Math.max(3, fitting), rows: size <= 64 ? 2 : 1, scale };
}

/** Number of images of a strip. */
export function stripImages(config: Config): number {
  const { columns, rows } = stripLayout(config);
  return columns * rows;
}

/** @param images u8 [N, H, W, C]; at most as many as a strip has are drawn */
export async function strip(images: Uint8Array, config: Config, what: string): Promise<Picture> {
  const shape = imageShape(config);
  const { columns, scale } = stripLayout(config);
  const shown = Math.min(stripImages(config), images.length / sizeOf(shape));
  return gridPicture(images, config, { shown, columns, scale, description: `${shown} ${what}` });
}

/** Rows in pairs, two for each path: where it is at each time, and where a straight line from there would end. */
export async function pathsPicture(
  { points, ends }: Trajectory,
  config: Config,
  { paths, name, back = false }: { paths: number; name: string; back?: boolean },
): Promise<Picture> {
  const width = points[0].length / paths;
  const all = new Float32Array(2 * paths * points.length * width);
  let at = 0;
  for (let sample = 0; sample < paths; sample++)
    for (const row of [points, ends])
      for (const stop of row) {
        all.set(stop.subarray(sample * width, (sample + 1) * width), at);
        at += width;
      }
  const columns = points.length;
  const natural = columns * (config.data.image_size + PADDING) + PADDING;
  return gridPicture(pixels(all, config, 'nearest'), config, {
    shown: 2 * paths * columns,
    columns,
    scale: Math.max(1, Math.floor(NARROW / natural)),
    description: `${paths} paths of the ${name} from ${back ? 'an image of the target' : isTransfer(config) ? 'an image of the source' : 'noise'} at the left to an image at the right, with two rows each`,
  });
}

async function gridPicture(
  images: Uint8Array,
  config: Config,
  { shown, columns, scale, description }: { shown: number; columns: number; scale: number; description: string },
): Promise<Picture> {
  const shape = imageShape(config);
  const grid = imageGrid(images.subarray(0, shown * sizeOf(shape)), [shown, ...shape], { columns, padding: PADDING });
  return { png: await encodePng(grid), width: grid.width, height: grid.height, scale, description };
}
