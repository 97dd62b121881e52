// Attention of one head on sm_90a: products whose rows are whole in a tile, so that the softmax of the scores and its gradient are part of
// them (hopper.cu). They serve at most 256 keys.
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperGridOf, type Tile } from './hopper.ts';
import { countTiles, productTile, suitsHopperProducts, tileOnCard } from './hopper_products.ts';

/**
 * softmax(scale q k^T) along rows; undefined if the kernels do not support it.
 * @param q [N, queries, C]
 * @param k [N, keys, C]
 * @returns [N, queries, keys], bf16
 */
export function hopperProbabilities(q: Tensor, k: Tensor, scale: number, chosen?: Tile): Tensor | undefined {
  const found = launchOf(q, k, [], chosen);
  if (!found) return undefined;
  const { tile, launchGrid, maps, sizes, shape } = found;
  const probabilities = allocate(shape, { device: q.device, dtype: 'bf16' });
  q.device.load(tile.module).conv_hopper_probabilities(launchGrid, ...maps, probabilities.address, ...sizes, scale);
  return probabilities;
}

/**
 * The gradient of q k^T: scale p (d - sum of p d along the row), d = dy v^T; undefined if the kernels do not support it.
 * @param dy [N, queries, D], the gradient of the attention's output
 * @param v [N, keys, D]
 * @param probabilities [N, queries, keys]
 * @returns [N, queries, keys], bf16
 */
export function hopperSlopes(
  dy: Tensor,
  v: Tensor,
  probabilities: Tensor,
  scale: number,
  chosen?: Tile,
): Tensor | undefined {
  const found = launchOf(dy, v, [probabilities], chosen);
  if (!found) return undefined;
  const { tile, launchGrid, maps, sizes, shape } = found;
  const slopes = allocate(shape, { device: dy.device, dtype: 'bf16' });
  const operands = [probabilities.address, slopes.address, ...sizes, scale];
  dy.device.load(tile.module).conv_hopper_slopes(launchGrid, ...maps, ...operands);
  return slopes;
}

/** The launch of a product of left [N, rows, terms] and right [N, columns, terms] whose tiles hold whole rows. */
function launchOf(left: Tensor, right: Tensor, more: readonly Tensor[], chosen: Tile | undefined) {
  const { device } = left;
  const [batches, rows, terms] = left.shape;
  const columns = right.shape[1];
  const sizes = { batches, rows, columns, terms, orders: [false, true], steps: [1, 1] } as const;
  const tensors = [left, right, ...more];
  if (!device.tensorMaps || tensors.some(({ dtype, address }) => dtype !== 'bf16' || address % 16 !== 0))
    return undefined;
  if (!suitsHopperProducts(sizes, 1, 1)) return undefined;
  const tile = chosen ?? tileOnCard(device, productTile(sizes, 1, 1, columns), columns);
  if (!tile) return undefined;
  return {
    tile,
    launchGrid: hopperGridOf(device, countTiles(tile, sizes, 1)),
    maps: [
      device.tensorMaps.rows(left.address, [batches * rows, terms], tile.rows),
      device.tensorMaps.rows(right.address, [batches * columns, terms], tile.columns),
    ],
    sizes: [batches, rows, terms, columns],
    shape: [batches, rows, columns],
  };
}
