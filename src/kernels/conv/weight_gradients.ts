// Weight gradients of convolutions and matrix products, many in one launch on CUDA.
import type { WeightProduct } from '../../autograd/flow.ts';
import type { CudaLaunchers } from '../../device/module.ts';
import { empty } from '../../tensor/create.ts';
import { keep } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { inChunks, launchOf, type ProductLaunch, productModules } from '../product.ts';
import { halvesOf, padded } from '../words.ts';

/** Words of a table by value, all entries together, and of an entry: see weight_gradients.cu. */
const TABLE = 880;
const WORDS = 11;

type Names = 'conv_weight_gradients';

export const weightGradientModules = productModules<Names>(import.meta.url, './weight_gradients.cu', {
  conv_weight_gradients: `words:${TABLE} i32`,
});

/** Blocks of a launch that keep a large card busy to the end: four for each multiprocessor. */
const BLOCKS = 4 * 132;
/** Terms that a partial sum adds at least. */
const LEAST_RUN = 1024;
/** Stands for the others of a launch, so that the tile is one that needs them to fill the card. */
const COMPANY = 128;

interface Planned {
  gradient: WeightProduct;
  launch: ProductLaunch<Names>;
  /** Pieces of the weight, and terms of each. */
  tiles: number;
  terms: number;
}

/** Each with its partial sums [parts, Cout kh kw Cin], f32, which the caller owns. */
export function partialsOf<Item extends { gradient: WeightProduct }>(
  items: readonly Item[],
): (Item & { partials: Tensor })[] {
  const groups = new Map<CudaLaunchers<Names>, (Planned & { item: Item })[]>();
  for (const item of items) {
    const { gradient } = item;
    const { x, dy, table } = gradient;
    if (x.size === 0 || dy.size === 0) continue;
    const [, , , inputs, , , outputs, height, width] = table;
    const terms = dy.size / outputs;
    const product = { rows: outputs, columns: height * width * inputs, terms, batches: COMPANY };
    const launch = launchOf(weightGradientModules, x, product);
    const planned = { item, gradient, launch, tiles: launch.geometry.grid[0] / COMPANY, terms };
    const group = groups.get(launch.kernels);
    if (group) group.push(planned);
    else groups.set(launch.kernels, [planned]);
  }
  return [...groups.values()].flatMap((group) => {
    const pieces: (Item & { partials: Tensor })[] = [];
    const most = Math.floor(TABLE / WORDS);
    for (let from = 0; from < group.length; from += most) {
      const some = group.slice(from, from + most);
      launchGroup(some).forEach((partials, i) => {
        pieces.push({ ...some[i].item, partials });
      });
    }
    return pieces;
  });
}

/** Cuts the terms of all into runs of one length, and gives the partial sums of each. */
function launchGroup(group: readonly Planned[]): Tensor[] {
  const all = group.reduce((sum, { tiles, terms }) => sum + tiles * terms, 0);
  const run = Math.max(LEAST_RUN, Math.ceil(all / BLOCKS));
  let blocks = 0;
  const made: Tensor[] = [];
  const words = group.flatMap(({ gradient: { x, dy, table }, tiles, terms }) => {
    const [, , , inputs, , , outputs, height, width] = table;
    const parts = Math.ceil(terms / run);
    const partials = keep(empty([parts, outputs * height * width * inputs], { device: x.device }));
    made.push(partials);
    const first = blocks;
    blocks += tiles * parts;
    const chunked = (inChunks(dy, outputs) ? 1 : 0) + (inChunks(x, inputs) ? 2 : 0);
    const pointers = [x.address, dy.address, partials.address, x.device.table(table)];
    return [...pointers.flatMap(halvesOf), run, chunked, first];
  });
  const [{ launch }] = group;
  launch.kernels.conv_weight_gradients({ ...launch.geometry, grid: [blocks] }, ...padded(words, TABLE), group.length);
  return made;
}
