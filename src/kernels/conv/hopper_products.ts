// Products of bf16 matrices on sm_90a (hopper.cu), several in a launch: which are supported, the choice of the tile, and the launch.
import type { Device } from '../../device/device.ts';
import { chooseBuild } from '../../device/fast_builds.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Dtype } from '../../tensor/dtype.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { halvesOf, padTo } from '../launch/words.ts';
import { hopperTuning } from '../tuning/sm_90a.ts';
import { hopperBuilds, hopperGridOf, MOST_PAIRS, PRODUCT_WORDS, STEP, type Tile, tilesOf, timeOf } from './hopper.ts';

/** The fewest tiles of 128 x 64 for which a launch is worth it; smaller products have portable kernels that split terms. */
const LEAST_TILES = 32;
const ENTRY_WORDS = PRODUCT_WORDS / MOST_PAIRS;

/** The sum of the products of all pairs, plus bias [columns], f32, for each row. */
export interface MatrixProduct {
  pairs: readonly (readonly [left: Tensor, right: Tensor])[];
  bias?: Tensor;
}

/** What the products of a launch have in common. */
export interface ProductSizes {
  batches: number;
  rows: number;
  columns: number;
  /** The terms of each pair. */
  terms: number;
  /** Whether left is stored [terms, rows], and right [columns, terms]; not both. */
  orders: readonly [left: boolean, right: boolean];
  /** 0 if one matrix serves the whole batch, else 1. */
  steps: readonly [left: number, right: number];
}

export const countTiles = (
  tile: Pick<Tile, 'rows' | 'columns'>,
  { batches, rows, columns }: ProductSizes,
  count: number,
) => count * batches * tilesOf(tile, rows, columns);

/** Whether the kernels can compute that many products of `pairs` pairs each. */
export function suitsHopperProducts(
  { batches, rows, columns, terms, orders }: ProductSizes,
  count: number,
  pairs: number,
): boolean {
  const whole = [rows, columns, terms].every((extent) => extent > 0 && extent % STEP === 0);
  return whole && batches > 0 && count * pairs <= MOST_PAIRS && !(orders[0] && orders[1]);
}

/**
 * The tile with the least predicted time of those with at least that many columns; undefined if there is too little to
 * do, or no such tile. All tiles give the same sums.
 */
export function productTile(sizes: ProductSizes, count: number, pairs: number, columns = 0): Tile | undefined {
  if (countTiles({ rows: 128, columns: 64 }, sizes, count) < LEAST_TILES) return undefined;
  const timed = hopperBuilds
    .filter((tile) => tile.columns >= columns)
    .map((tile) => {
      const waves = Math.ceil(countTiles(tile, sizes, count) / hopperTuning.multiprocessors);
      return { tile, microseconds: timeOf(tile, waves, waves * pairs * sizes.terms) };
    });
  return timed.toSorted((a, b) => a.microseconds - b.microseconds).at(0)?.tile;
}

/** The tile of a launch; undefined where there is none, or where other kernels serve in place of its build. */
export function tileOnCard(device: Device, usual: Tile | undefined, columns = 0): Tile | undefined {
  return (
    usual &&
    chooseBuild(
      device,
      hopperBuilds.filter((tile) => tile.columns >= columns),
      usual,
    )
  );
}

/**
 * The products in new tensors of that shape and dtype; undefined if the kernels do not support them.
 * @param products with the same number of pairs each
 */
export function hopperProducts(
  products: readonly MatrixProduct[],
  sizes: ProductSizes,
  { shape, dtype }: { shape: Shape; dtype: Dtype },
  chosen?: Tile,
): Tensor[] | undefined {
  const { batches, rows, columns, terms, orders, steps } = sizes;
  const [{ pairs }] = products;
  const [[{ device }]] = pairs;
  const maps = device.tensorMaps;
  const operands = products.flatMap((product) => product.pairs.flat());
  const biases = products.flatMap(({ bias }) => bias ?? []);
  if (!maps || operands.some((t) => t.dtype !== 'bf16')) return undefined;
  if ([...operands, ...biases].some(({ address }) => address % 16 !== 0)) return undefined;
  if (!suitsHopperProducts(sizes, products.length, pairs.length)) return undefined;
  const tile = chosen ?? tileOnCard(device, productTile(sizes, products.length, pairs.length));
  if (!tile) return undefined;
  const [lefts, rights] = steps.map((step) => (step === 0 ? 1 : batches));
  const mapsOf = ([left, right]: MatrixProduct['pairs'][number]) => [
    orders[0]
      ? maps.rows(left.address, [lefts * terms, rows], STEP)
      : maps.rows(left.address, [lefts * rows, terms], tile.rows),
    orders[1]
      ? maps.rows(right.address, [rights * columns, terms], tile.columns)
      : maps.rows(right.address, [rights * terms, columns], STEP),
  ];
  const made = products.map(() => allocate(shape, { device, dtype }));
  const words = products.flatMap(({ bias }, i) => [...halvesOf(made[i].address), ...halvesOf(bias?.address ?? 0)]);
  const kernel = orders[0]
    ? 'conv_hopper_multiply_left_transposed'
    : orders[1]
      ? 'conv_hopper_multiply_right_transposed'
      : 'conv_hopper_multiply';
  device
    .load(tile.module)
    [kernel](
      hopperGridOf(device, countTiles(tile, sizes, products.length)),
      maps.together(products.flatMap((product) => product.pairs.flatMap(mapsOf))),
      ...padTo(words, ENTRY_WORDS * MOST_PAIRS),
      ...[products.length, pairs.length, batches, rows, terms, columns, ...steps, dtype === 'f32' ? 1 : 0],
    );
  return made;
}
