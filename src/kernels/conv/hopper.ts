// bf16 convolutions on sm_90a (hopper.cu): which shapes are supported, the choice of the tile, and the launches for
// outputs and input gradients. Weight gradients are in hopper_weight_gradients.ts.
import type { Device, TensorMaps } from '../../device/device.ts';
import { chooseBuild } from '../../device/fast_builds.ts';
import { cudaModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperTuning, type MeasuredTiles, measuredTiles } from '../tuning/sm_90a.ts';
import { convCuda } from './modules.ts';
import {
  type ConvEpilogue,
  type ConvShape,
  channelsOf,
  inputShape,
  isDense,
  isEvenlyPadded,
  isUnstrided,
  mirror,
  outputShape,
  toTable,
  weightShape,
} from './shape.ts';

/** Terms of a step; channels are a multiple of it. It is 128 bytes, the width of the swizzle of tensor maps. */
export const STEP = 64;
/**
 * The grid: one persistent block per multiprocessor, which computes one tile after another with three warpgroups. Its
 * shared memory holds the ring of stages, which is aligned to 1024 bytes, and buffers of rows (hopper.cu).
 */
export const hopperGridOf = ({ workers }: Device, tiles: number) =>
  ({ grid: [Math.min(tiles, workers)], block: [384], shared: 225 * 1024 }) as const;
/** How far a patch may extend beyond the image: tensor maps store it in 8 bits. */
const MOST_REACH = 127;
/**
 * The most weight gradients of one launch, as many as fit into 4 KiB of arguments, and the words of each: see
 * hopper.cu.
 */
export const MOST_TOGETHER = 14;
export const ENTRY_WORDS = 7;
/** The most pairs of matrices that one launch multiplies, and the words of their table: see hopper.cu. */
export const MOST_PAIRS = 4;
export const PRODUCT_WORDS = 16;
const PRODUCT = `maps:${2 * MOST_PAIRS} words:${PRODUCT_WORDS} i32 i32 i32 i32 i32 i32 i32 i32 i32` as const;

const build = { precisions: ['bf16'], target: 'sm_90a', twin: convCuda.portable.bf16.module } as const;

const nameOf = ({ rows, columns, together }: (typeof hopperTuning.tiles)[number]) =>
  `${rows}x${columns}${together === 1 ? '.turns' : ''}`;

export const hopperBuilds = hopperTuning.tiles.map((tile) => ({
  ...tile,
  name: nameOf(tile),
  module: cudaModule(
    'kernels/conv/hopper.cu',
    {
      conv_hopper_forward: 'map map ptr ptr ptr ptr ptr f32 map i32',
      conv_hopper_input_gradient: 'map map ptr ptr f32',
      conv_hopper_weight_gradients: `maps:${2 * MOST_TOGETHER} words:${ENTRY_WORDS * MOST_TOGETHER} i32 i32 i32`,
      conv_hopper_multiply: PRODUCT,
      conv_hopper_multiply_right_transposed: PRODUCT,
      conv_hopper_multiply_left_transposed: PRODUCT,
      conv_hopper_probabilities: 'map map ptr i32 i32 i32 i32 f32',
      conv_hopper_slopes: 'map map ptr ptr i32 i32 i32 i32 f32',
    },
    {
      ...build,
      flags: ['-DSTORAGE_BF16', `-DROWS=${tile.rows}`, `-DCOLUMNS=${tile.columns}`, `-DTOGETHER=${tile.together}`],
      variant: nameOf(tile),
    },
  ),
}));

/** Whether the kernels support a convolution of this shape. */
export function suitsHopper(shape: ConvShape): boolean {
  const { channels, outputs, kernelHeight, kernelWidth, paddingY, paddingX } = shape;
  const whole = (count: number) => count > 0 && count % STEP === 0;
  if (!isUnstrided(shape) || !isDense(shape) || !whole(channels) || !whole(outputs)) return false;
  if (!isEvenlyPadded(shape)) return false;
  // The convolution of the input gradient has a padding of kernel - 1 - padding.
  return paddingY < kernelHeight && paddingX < kernelWidth && Math.max(kernelHeight, kernelWidth) <= MOST_REACH;
}

/**
 * The tensor maps that the kernels need; undefined if the kernels do not support the convolution.
 * @param tensors bf16, read in chunks of 16 bytes
 * @param bias f32, read in the same way
 */
export function hopperMaps(
  shape: ConvShape,
  tensors: readonly [Tensor, ...(Tensor | undefined)[]],
  bias?: Tensor,
): TensorMaps | undefined {
  if (!suitsHopper(shape)) return undefined;
  if (tensors[0].dtype !== 'bf16' || [...tensors, bias].some((t) => t && t.address % 16 !== 0)) return undefined;
  return tensors[0].device.tensorMaps;
}

/** Whether both parts of an image have channels that the kernels support. */
export const partsSuitHopper = (x: Tensor, second?: Tensor) => !second || channelsOf(x) % STEP === 0;

/** The tensor map of the patches of x, the image of a convolution at stride 1, or some of its channels. */
export function patchesOf(maps: TensorMaps, x: Tensor, shape: ConvShape, count: number): number {
  const { kernelHeight, kernelWidth, paddingY, paddingX } = shape;
  const upper = [paddingY - (kernelHeight - 1), paddingX - (kernelWidth - 1)] as const;
  const image = inputShape({ ...shape, channels: channelsOf(x) });
  return maps.patches(x.address, image, [-paddingY, -paddingX], upper, count);
}

export type Tile = (typeof hopperBuilds)[number];

export const tilesOf = (tile: Pick<Tile, 'rows' | 'columns'>, rows: number, columns: number) =>
  Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);

/** Microseconds that a block takes for `tiles` tiles, whose sums have `terms` terms in total. */
export function timeOf({ rows, columns, together, efficiency }: Tile, tiles: number, terms: number): number {
  const { rate, writing } = hopperTuning;
  const products = (2 * rows * columns * terms) / (rate * efficiency);
  // If warpgroups alternate, writing the sums of a tile overlaps with the products of the next, except for the last
  // tile.
  return together === 1 ? Math.max(products, (products + tiles * writing) / 2) + writing : products + tiles * writing;
}

/** The key of convolutions in MeasuredTiles. */
export const keyOf = (shapes: readonly ConvShape[]) => shapes.map((shape) => toTable(shape).join(' ')).join(', ');

/**
 * The tile for an output or an input gradient, and its predicted time. It is the tile that was measured to be the
 * fastest, or else predicted to be. It depends on the shape alone, and all tiles give the same sums.
 */
export function choiceOf(shape: ConvShape, pass: 'forward' | 'input', known: MeasuredTiles = measuredTiles()) {
  const { batch, channels, outputHeight, outputWidth, outputs, kernelHeight, kernelWidth } =
    pass === 'input' ? mirror(shape) : shape;
  const choices = hopperBuilds.map((tile) => {
    const tiles = tilesOf(tile, batch * outputHeight * outputWidth, outputs);
    const waves = Math.ceil(tiles / hopperTuning.multiprocessors);
    return { tile, microseconds: timeOf(tile, waves, waves * kernelHeight * kernelWidth * channels) };
  });
  const measured = known[pass][keyOf([shape])];
  return (
    choices.find(({ tile }) => tile.name === measured) ??
    choices.reduce((best, choice) => (choice.microseconds < best.microseconds ? choice : best))
  );
}

/** The tile of a launch; undefined where the portable kernels serve in place of its build. */
export function hopperTile(device: Device, shape: ConvShape, pass: 'forward' | 'input'): Tile | undefined {
  return chooseBuild(device, hopperBuilds, choiceOf(shape, pass).tile);
}

/** y = scale (conv(x, w) + bias + add + residual). The image's last channels may be in a second tensor. */
export function hopperForward(
  maps: TensorMaps,
  x: Tensor,
  weight: Tensor,
  shape: ConvShape,
  { bias, add, residual, scale, second }: ConvEpilogue & { second?: Tensor },
  chosen?: Tile,
): Tensor {
  const { device } = x;
  const { outputs } = shape;
  const tile = chosen ?? choiceOf(shape, 'forward').tile;
  const y = allocate(outputShape(shape), { device, dtype: 'bf16' });
  const operands = [
    patchesOf(maps, x, shape, tile.rows),
    maps.rows(weight.address, [outputs, sizeOf(weightShape(shape)) / outputs], tile.columns),
    ...[y, bias, add, residual].map((t) => t?.address ?? 0),
    device.table(toTable(shape)),
    scale,
    patchesOf(maps, second ?? x, shape, tile.rows),
    channelsOf(x),
  ];
  const launchGrid = hopperGridOf(device, tilesOf(tile, y.size / outputs, outputs));
  device.load(tile.module).conv_hopper_forward(launchGrid, ...operands);
  return y;
}

/** dx = scale times the sum over taps and output channels of dy w */
export function hopperInputGradient(
  maps: TensorMaps,
  dy: Tensor,
  weight: Tensor,
  shape: ConvShape,
  scale: number,
  chosen?: Tile,
): Tensor {
  const { device } = dy;
  const { channels, outputs } = shape;
  const tile = chosen ?? choiceOf(shape, 'input').tile;
  const dx = allocate(inputShape(shape), { device, dtype: 'bf16' });
  const operands = [
    patchesOf(maps, dy, mirror(shape), tile.rows),
    maps.rows(weight.address, [outputs, sizeOf(weightShape(shape)) / outputs], STEP),
    dx.address,
    device.table(toTable(shape)),
    scale,
  ];
  const launchGrid = hopperGridOf(device, tilesOf(tile, dx.size / channels, channels));
  device.load(tile.module).conv_hopper_input_gradient(launchGrid, ...operands);
  return dx;
}
