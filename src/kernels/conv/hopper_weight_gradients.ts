// Weight gradients of convolutions of bf16 on sm_90a, several in one launch (hopper.cu): into which tiles and partial sums they are
// cut, and the launch.
import type { WeightProduct } from '../../autograd/gradient_parts.ts';
import type { TensorMaps } from '../../device/device.ts';
import { allocate } from '../../tensor/allocate.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { halvesOf, inPieces, padded } from '../launch/words.ts';
import { hopperTuning, type MeasuredTiles } from '../tuning/sm_90a.ts';
import { measuredTiles } from '../tuning/sm_90a_measured.ts';
import {
  ENTRY_WORDS,
  hopperBuilds,
  keyOf,
  type Layer,
  launchOf,
  layerOf,
  MOST_TOGETHER,
  patchesOf,
  STEP,
  type Tile,
  tilesOf,
  timeOf,
} from './hopper.ts';

/** Steps that a partial sum has at least where a sum is cut, and the most partial sums. */
const LEAST_STEPS = 8;
const MOST_PARTS = 64;
/** Bytes of a partial sum's element, which is written and read. */
const TRAFFIC = 2 * 4;

export interface Cut {
  tile: Tile;
  /** Steps of 64 output pixels in a partial sum; the last one of a weight may have fewer. */
  run: number;
  /** Predicted, with what is moved for partial sums. */
  microseconds: number;
}

/** A weight's gradient as a matrix product whose terms are output pixels. */
function productOf({ weight: [outputs, ...window], out: [n, height, width] }: Layer) {
  return { rows: outputs, columns: sizeOf(window), steps: Math.ceil((n * height * width) / STEP) };
}

/** What weight gradients that are made together may be cut into: the best predicted run with each tile. @param tables Geometry's */
export function cutsOf(tables: readonly (readonly number[])[]): Cut[] {
  const products = tables.map((table) => productOf(layerOf(table)));
  const longest = Math.max(...products.map(({ steps }) => steps));
  const most = Math.min(MOST_PARTS, Math.max(1, Math.floor(longest / LEAST_STEPS)));
  const runs = Array.from({ length: most }, (_, i) => Math.ceil(longest / (i + 1)));
  return hopperBuilds.map((tile) =>
    fastest(runs.map((run) => ({ tile, run, microseconds: predicted(products, tile, run) }))),
  );
}

const fastest = (cuts: readonly Cut[]) =>
  cuts.reduce((best, cut) => (cut.microseconds < best.microseconds ? cut : best));

function predicted(products: readonly ReturnType<typeof productOf>[], tile: Tile, run: number): number {
  const { multiprocessors, bandwidth } = hopperTuning;
  let [tiles, steps, moved] = [0, 0, 0];
  for (const { rows, columns, steps: own } of products) {
    const [area, parts] = [tilesOf(tile, rows, columns), Math.ceil(own / run)];
    tiles += area * parts;
    steps += area * own;
    moved += TRAFFIC * parts * rows * columns;
  }
  const waves = Math.ceil(tiles / multiprocessors);
  // Of a block: the long tiles come first, and are dealt out in turns.
  const most = Math.min(waves * run, steps / multiprocessors + run);
  return timeOf(tile, waves, most * STEP) + moved / bandwidth;
}

/** How weight gradients that are made together are cut, by the shapes alone: as measured to be the fastest, else as predicted. */
export function cutOf(tables: readonly (readonly number[])[], known: MeasuredTiles = measuredTiles): Cut {
  const measured = known.weight[keyOf(tables)];
  const tile = hopperBuilds.find(({ name }) => name === measured?.tile);
  if (!measured || !tile) return fastest(cutsOf(tables));
  const { run } = measured;
  return {
    tile,
    run,
    microseconds: predicted(
      tables.map((table) => productOf(layerOf(table))),
      tile,
      run,
    ),
  };
}

/** What a weight gradient is made of. */
export type WeightFactors = Pick<WeightProduct, 'x' | 'dy' | 'table'>;

/** Those that are launched together: as many as a launch takes, of the most pixels first. */
export function inLaunches<Item extends { gradient: WeightFactors }>(items: readonly Item[]): Item[][] {
  const steps = ({ gradient }: Item) => productOf(layerOf(gradient.table)).steps;
  return inPieces(
    items.toSorted((a, b) => steps(b) - steps(a)),
    MOST_TOGETHER,
  );
}

/** Of each f32 [parts, size of the weight]: partial sums, to be added in order. @param items at most MOST_TOGETHER */
export function hopperWeightPartials(
  maps: TensorMaps,
  items: readonly WeightFactors[],
  { tile, run }: Pick<Cut, 'tile' | 'run'> = cutOf(items.map(({ table }) => table)),
): Tensor[] {
  const [
    {
      x: { device },
    },
  ] = items;
  let tiles = 0;
  const words: number[] = [];
  const pairs: number[] = [];
  const made = items.map(({ x, dy, table }) => {
    const layer = layerOf(table);
    const { rows, columns, steps } = productOf(layer);
    const parts = Math.ceil(steps / run);
    const partials = allocate([parts, rows * columns], { device });
    pairs.push(patchesOf(maps, x, layer, STEP), maps.rows(dy.address, [dy.size / rows, rows], STEP));
    words.push(...halvesOf(partials.address), ...halvesOf(device.table(table)), tiles);
    tiles += tilesOf(tile, rows, columns) * parts;
    return partials;
  });
  const byValue = padded(words, ENTRY_WORDS * MOST_TOGETHER);
  const sizes = [items.length, tiles, run];
  device
    .load(tile.module)
    .conv_hopper_weight_gradients(launchOf(device, tiles), maps.together(pairs), ...byValue, ...sizes);
  return made;
}
