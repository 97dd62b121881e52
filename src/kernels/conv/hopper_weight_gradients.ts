// Weight gradients of bf16 convolutions on sm_90a, several per launch (hopper.cu): how they are split into tiles and
// partial sums, and the launch.
import type { WeightProduct } from '../../autograd/gradient_parts.ts';
import type { Device, TensorMaps } from '../../device/device.ts';
import { chooseBuild } from '../../device/fast_builds.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { halvesOf, padTo } from '../launch/words.ts';
import { hopperTuning, type MeasuredTiles, measuredTiles } from '../tuning/sm_90a.ts';
import {
  ENTRY_WORDS,
  hopperBuilds,
  hopperGridOf,
  keyOf,
  MOST_TOGETHER,
  patchesOf,
  STEP,
  type Tile,
  tilesOf,
  timeOf,
} from './hopper.ts';
import { type ConvShape, channelsOf, toTable } from './shape.ts';

/** The fewest steps of a partial sum if a sum is split, and the most partial sums. */
const LEAST_STEPS = 8;
const MOST_PARTS = 64;

export interface Cut {
  tile: Tile;
  /** Steps of 64 output pixels in a partial sum; the last one of a weight may have fewer. */
  run: number;
  /** The predicted time, including the memory traffic of partial sums. */
  microseconds: number;
}

/** A weight gradient as a matrix product whose terms are output pixels. */
export function productOf({
  batch,
  outputHeight,
  outputWidth,
  outputs,
  kernelHeight,
  kernelWidth,
  channels,
}: ConvShape) {
  const steps = Math.ceil((batch * outputHeight * outputWidth) / STEP);
  return { rows: outputs, columns: kernelHeight * kernelWidth * channels, steps };
}

/**
 * The candidate ways to split the weight gradients of one launch: for each tile, the run with the best predicted time.
 */
export function cutsOf(shapes: readonly ConvShape[]): Cut[] {
  const products = shapes.map(productOf);
  const longest = Math.max(...products.map(({ steps }) => steps));
  const most = Math.min(MOST_PARTS, Math.max(1, Math.floor(longest / LEAST_STEPS)));
  const runs = Array.from({ length: most }, (_, i) => Math.ceil(longest / (i + 1)));
  return hopperBuilds.map((tile) =>
    fastest(runs.map((run) => ({ tile, run, microseconds: predictTime(products, tile, run) }))),
  );
}

const fastest = (cuts: readonly Cut[]) =>
  cuts.reduce((best, cut) => (cut.microseconds < best.microseconds ? cut : best));

/** What the multiprocessors do for weight gradients in tiles and runs of that size. */
export interface WeightGradientLoad {
  tiles: number;
  /** The most tiles of a block, and the most steps: blocks take tiles in turn, the longest first. */
  waves: number;
  mostSteps: number;
  /** Steps of all tiles. */
  steps: number;
  /** Bytes of partial sums. */
  written: number;
}

export function loadOf(products: readonly ReturnType<typeof productOf>[], tile: Tile, run: number): WeightGradientLoad {
  const { multiprocessors } = hopperTuning;
  let [tiles, steps, written] = [0, 0, 0];
  for (const { rows, columns, steps: own } of products) {
    const [area, parts] = [tilesOf(tile, rows, columns), Math.ceil(own / run)];
    tiles += area * parts;
    steps += area * own;
    written += 4 * parts * rows * columns;
  }
  const waves = Math.ceil(tiles / multiprocessors);
  return { tiles, waves, mostSteps: Math.min(waves * run, steps / multiprocessors + run), steps, written };
}

function predictTime(products: readonly ReturnType<typeof productOf>[], tile: Tile, run: number): number {
  const { waves, mostSteps, written } = loadOf(products, tile, run);
  // Partial sums are written once and read once.
  return timeOf(tile, waves, mostSteps * STEP) + (2 * written) / hopperTuning.bandwidth;
}

/**
 * How the weight gradients of one launch are split, by the shapes alone: the fastest way as measured, or else as
 * predicted.
 */
export function cutOf(shapes: readonly ConvShape[], known: MeasuredTiles = measuredTiles()): Cut {
  const measured = known.weight[keyOf(shapes)];
  const tile = hopperBuilds.find(({ name }) => name === measured?.tile);
  if (!measured || !tile) return fastest(cutsOf(shapes));
  const { run } = measured;
  return { tile, run, microseconds: predictTime(shapes.map(productOf), tile, run) };
}

/** How a launch is split; undefined where the portable kernels serve in place of its build. */
export function hopperCut(device: Device, shapes: readonly ConvShape[]): Cut | undefined {
  const usual = cutOf(shapes);
  const tile = chooseBuild(device, hopperBuilds, usual.tile);
  return tile === usual.tile ? usual : cutsOf(shapes).find((cut) => cut.tile === tile);
}

/** The operands of a weight gradient. */
export type WeightFactors = Pick<WeightProduct<ConvShape>, 'x' | 'dy' | 'shape'> & { second?: Tensor | undefined };

/** Groups items by launch: as many as fit into one, those with the most pixels first. */
export function inLaunches<Item extends { gradient: WeightFactors }>(items: readonly Item[]): Item[][] {
  const steps = ({ gradient }: Item) => productOf(gradient.shape).steps;
  const mapsOf = (launch: readonly Item[]) =>
    launch.reduce((sum, { gradient: { second } }) => sum + (second ? 3 : 2), 0);
  const launches: Item[][] = [];
  for (const item of items.toSorted((a, b) => steps(b) - steps(a))) {
    const last = launches.at(-1);
    const fits = last && last.length < MOST_TOGETHER && mapsOf([...last, item]) <= 2 * MOST_TOGETHER;
    if (fits) last.push(item);
    else launches.push([item]);
  }
  return launches;
}

/**
 * Partial sums f32 [parts, size of the weight] of each item, to be added in order.
 * @param items one of `inLaunches`
 */
export function hopperWeightPartials(
  maps: TensorMaps,
  items: readonly WeightFactors[],
  { tile, run }: Pick<Cut, 'tile' | 'run'> = cutOf(items.map(({ shape }) => shape)),
): Tensor[] {
  const [
    {
      x: { device },
    },
  ] = items;
  let tiles = 0;
  const words: number[] = [];
  const listed: number[] = [];
  const made = items.map(({ x, second, dy, shape }) => {
    const { rows, columns, steps } = productOf(shape);
    const parts = Math.ceil(steps / run);
    const partials = allocate([parts, rows * columns], { device });
    words.push(...halvesOf(partials.address), ...halvesOf(device.table(toTable(shape))));
    words.push(tiles, listed.length, channelsOf(x));
    listed.push(patchesOf(maps, x, shape, STEP), maps.rows(dy.address, [dy.size / rows, rows], STEP));
    if (second) listed.push(patchesOf(maps, second, shape, STEP));
    tiles += tilesOf(tile, rows, columns) * parts;
    return partials;
  });
  const byValue = padTo(words, ENTRY_WORDS * MOST_TOGETHER);
  const sizes = [items.length, tiles, run];
  device
    .load(tile.module)
    .conv_hopper_weight_gradients(hopperGridOf(device, tiles), maps.together(listed), ...byValue, ...sizes);
  return made;
}
