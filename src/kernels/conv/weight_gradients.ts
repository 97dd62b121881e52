// Weight gradients of convolutions and matrix products on CUDA, many per launch.
import type { WeightProduct } from '../../autograd/gradient_parts.ts';
import type { TensorMaps } from '../../device/device.ts';
import { checkedBy } from '../../device/fast_builds.ts';
import type { CudaLaunchers } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { keep } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import {
  channelsInChunks,
  inChunks,
  type ProductLaunch,
  productBuilds,
  productLaunchOf,
  productModules,
} from '../launch/product.ts';
import { halvesOf, inPieces, padTo } from '../launch/words.ts';
import { fewWeightPartials, servesFew } from './few.ts';
import { hopperMaps, partsSuitHopper } from './hopper.ts';
import { hopperCut, hopperWeightPartials, inLaunches } from './hopper_weight_gradients.ts';
import { type ConvShape, channelsOf, toTable, weightShape } from './shape.ts';

/** Words of a table passed by value, and words of one of its entries: see weight_gradients.cu. */
const TABLE = 896;
const WORDS = 14;

type Names = 'conv_weight_gradients';

const weightGradientModules = productModules<Names>('kernels/conv/weight_gradients.cu', {
  conv_weight_gradients: `words:${TABLE} i32`,
});
checkedBy(productBuilds(weightGradientModules), async () =>
  (await import('../checks/convolutions.ts')).weightGradientsCheck(partialsOf),
);

/** Number of blocks that keeps a large GPU busy to the end of a launch: four per multiprocessor. */
const BLOCKS = 4 * 132;
/** The fewest terms of a partial sum. */
const LEAST_RUN = 1024;
/** Stands for the other products of a launch: the tile is chosen as if they fill the GPU. */
const COMPANY = 128;

type Item = { gradient: WeightProduct<ConvShape> };

interface Planned<One extends Item> {
  item: One;
  launch: ProductLaunch<Names>;
  /** Tiles of the weight, and terms of each. */
  tiles: number;
  terms: number;
}

/** Each item with its partial sums [parts, Cout kh kw Cin], f32, which the caller owns. */
export function partialsOf<One extends Item>(items: readonly One[]): (One & { partials: Tensor })[] {
  const some = items.filter(({ gradient: { x, dy } }) => x.size > 0 && dy.size > 0);
  const mapsOf = ({ gradient: { x, second, dy, shape } }: One) =>
    partsSuitHopper(x, second) ? hopperMaps(shape, [x, second, dy]) : undefined;
  const served = new Set<One>();
  const made: (One & { partials: Tensor })[] = [];
  const add = (group: readonly One[], partials: readonly Tensor[]) => {
    for (const [i, item] of group.entries()) {
      served.add(item);
      made.push({ ...item, partials: keep(partials[i]) });
    }
  };
  for (const group of inLaunches(some.filter(mapsOf))) {
    const gradients = group.map(({ gradient }) => gradient);
    const cut = hopperCut(
      gradients[0].x.device,
      gradients.map(({ shape }) => shape),
    );
    if (cut) add(group, hopperWeightPartials(mapsOf(group[0]) as TensorMaps, gradients, cut));
  }
  for (const item of some) {
    const { x, second, dy, shape } = item.gradient;
    if (!served.has(item) && !second && servesFew(shape, [x, dy])) add([item], [fewWeightPartials(x, dy, shape)]);
  }
  for (const group of portableLaunches(some.filter((item) => !served.has(item))))
    add(
      group.map(({ item }) => item),
      launchGroup(group),
    );
  return made;
}

/** Groups items by launch: those of the same build, as many as the table holds. */
function portableLaunches<One extends Item>(items: readonly One[]): Planned<One>[][] {
  const groups = new Map<CudaLaunchers<Names>, Planned<One>[]>();
  for (const item of items) {
    const { x, dy, shape } = item.gradient;
    const { channels, outputs, kernelHeight, kernelWidth } = shape;
    const terms = dy.size / outputs;
    const product = { rows: outputs, columns: kernelHeight * kernelWidth * channels, terms, batches: COMPANY };
    const launch = productLaunchOf(weightGradientModules, x, product);
    const planned = { item, launch, tiles: launch.launchGrid.grid[0] / COMPANY, terms };
    const group = groups.get(launch.kernels);
    if (group) group.push(planned);
    else groups.set(launch.kernels, [planned]);
  }
  return [...groups.values()].flatMap((group) => inPieces(group, Math.floor(TABLE / WORDS)));
}

/** Splits the terms of all items into runs of one length, and returns the partial sums of each item. */
function launchGroup(group: readonly Planned<Item>[]): Tensor[] {
  const all = group.reduce((sum, { tiles, terms }) => sum + tiles * terms, 0);
  const run = Math.max(LEAST_RUN, Math.ceil(all / BLOCKS));
  let blocks = 0;
  const made: Tensor[] = [];
  const words = group.flatMap(({ item, tiles, terms }) => {
    const { x, second, dy, shape } = item.gradient;
    const { outputs } = shape;
    const parts = Math.ceil(terms / run);
    const partials = allocate([parts, sizeOf(weightShape(shape))], { device: x.device });
    made.push(partials);
    const first = blocks;
    blocks += tiles * parts;
    const chunked = (inChunks(dy, outputs) ? 1 : 0) + (channelsInChunks(x, second) ? 2 : 0);
    const pointers = [x, dy, partials].map(({ address }) => address);
    pointers.push(x.device.table(toTable(shape)), second?.address ?? 0);
    return [...pointers.flatMap(halvesOf), channelsOf(x), run, chunked, first];
  });
  const [{ launch }] = group;
  launch.kernels.conv_weight_gradients({ ...launch.launchGrid, grid: [blocks] }, ...padTo(words, TABLE), group.length);
  return made;
}
