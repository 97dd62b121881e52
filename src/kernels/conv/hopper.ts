// Convolutions of bf16 on sm_90a (hopper.cu): which of them, with which tile, and the launches of outputs and input gradients;
// weight gradients are in hopper_weight_gradients.ts.
import type { Device, TensorMaps } from '../../device/device.ts';
import { cudaModule } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperTuning, type MeasuredTiles } from '../tuning/sm_90a.ts';
import { measuredTiles } from '../tuning/sm_90a_measured.ts';
import type { Epilogue } from './shape.ts';

/** Terms of a step, and what channels are a multiple of: 128 bytes, as wide as the swizzle of tensor maps. */
export const STEP = 64;
/**
 * Three warpgroups, and the ring of stages, which begins at a multiple of 1024 bytes (hopper.cu); a block for each
 * multiprocessor, which makes one tile after another.
 */
export const launchOf = ({ workers }: Device, tiles: number) =>
  ({ grid: [Math.min(tiles, workers)], block: [384], shared: 193 * 1024 }) as const;
/** How far a patch may reach beyond the image: tensor maps have 8 bits for it. */
const MOST_REACH = 127;
/** Convolutions whose weight gradients are made in one launch, as many as 4 KiB of arguments hold, and words of each: see hopper.cu. */
export const MOST_TOGETHER = 14;
export const ENTRY_WORDS = 5;

const build = { precisions: ['bf16'], target: 'sm_90a' } as const;

const nameOf = ({ rows, columns, together }: (typeof hopperTuning.tiles)[number]) =>
  `${rows}x${columns}${together === 1 ? '.turns' : ''}`;

export const hopperBuilds = hopperTuning.tiles.map((tile) => ({
  ...tile,
  name: nameOf(tile),
  module: cudaModule(
    'kernels/conv/hopper.cu',
    {
      conv_hopper_forward: 'map map ptr ptr ptr ptr ptr f32',
      conv_hopper_input_gradient: 'map map ptr ptr f32',
      conv_hopper_weight_gradients: `maps:${2 * MOST_TOGETHER} words:${ENTRY_WORDS * MOST_TOGETHER} i32 i32 i32`,
    },
    {
      ...build,
      flags: ['-DSTORAGE_BF16', `-DROWS=${tile.rows}`, `-DCOLUMNS=${tile.columns}`, `-DTOGETHER=${tile.together}`],
      variant: nameOf(tile),
    },
  ),
}));

/** A convolution at stride 1. */
export interface Layer {
  /** [N, H, W, Cin] */
  x: Shape;
  /** [Cout, kh, kw, Cin] */
  weight: Shape;
  padding: readonly [number, number];
  /** [N, H', W', Cout] */
  out: Shape;
}

/** Whether the kernels do a convolution of this shape. */
export function suitsHopper(table: readonly number[]): boolean {
  const [, , , channels, , , outputs, kh, kw, strideY, strideX, padY, padX] = table;
  const whole = (count: number) => count > 0 && count % STEP === 0;
  if (strideY !== 1 || strideX !== 1 || !whole(channels) || !whole(outputs)) return false;
  // The input's gradient has paddings of kernel - 1 - padding.
  return padY < kh && padX < kw && Math.max(kh, kw) <= MOST_REACH;
}

/**
 * The maps that the kernels need, where they can do it all.
 * @param table Geometry's
 * @param tensors read in pieces of 16 bytes, bf16
 * @param bias read so, f32
 */
export function hopperMaps(
  table: readonly number[],
  tensors: readonly [Tensor, ...(Tensor | undefined)[]],
  bias?: Tensor,
): TensorMaps | undefined {
  if (!suitsHopper(table)) return undefined;
  if (tensors[0].dtype !== 'bf16' || [...tensors, bias].some((t) => t && t.address % 16 !== 0)) return undefined;
  return tensors[0].device.tensorMaps;
}

/** @param table Geometry's */
export function layerOf(table: readonly number[]): Layer {
  const [n, height, width, channels, outHeight, outWidth, outputs, kh, kw, , , ...padding] = table;
  return {
    x: [n, height, width, channels],
    weight: [outputs, kh, kw, channels],
    padding: padding as [number, number],
    out: [n, outHeight, outWidth, outputs],
  };
}

/** The layer whose forward pass is the input's gradient of that layer. */
function mirrored({ x, weight: [outputs, kh, kw, channels], padding: [padY, padX], out }: Layer): Layer {
  return { x: out, weight: [channels, kh, kw, outputs], padding: [kh - 1 - padY, kw - 1 - padX], out: x };
}

/** Of x, whose shape is the layer's. */
export function patchesOf(
  maps: TensorMaps,
  { address }: Tensor,
  { x, weight: [, kh, kw], padding: [padY, padX] }: Layer,
  count: number,
): number {
  return maps.patches(address, x, [-padY, -padX], [padY - (kh - 1), padX - (kw - 1)], count);
}

export type Tile = (typeof hopperBuilds)[number];

export const tilesOf = (tile: Tile, rows: number, columns: number) =>
  Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);

/** Microseconds that a block takes over so many tiles, whose sums have so many terms together. */
export function timeOf({ rows, columns, together, efficiency }: Tile, tiles: number, terms: number): number {
  const { rate, writing } = hopperTuning;
  const products = (2 * rows * columns * terms) / (rate * efficiency);
  // In turns, sums are written beside the next tile's products, but for the last one's.
  return together === 1 ? Math.max(products, (products + tiles * writing) / 2) + writing : products + tiles * writing;
}

/** The key of convolutions in MeasuredTiles. @param tables Geometry's */
export const keyOf = (tables: readonly (readonly number[])[]) => tables.map((table) => table.join(' ')).join(', ');

/**
 * The tile of an output or an input gradient, by the shape alone (its sums are the same with each), and its predicted time: one that
 * was measured to be the fastest, else the one that is predicted to be.
 * @param table Geometry's
 */
export function choiceOf(table: readonly number[], pass: 'forward' | 'input', known: MeasuredTiles = measuredTiles) {
  const layer = pass === 'input' ? mirrored(layerOf(table)) : layerOf(table);
  const [outputs, ...window] = layer.weight;
  const choices = hopperBuilds.map((tile) => {
    const waves = Math.ceil(tilesOf(tile, sizeOf(layer.out) / outputs, outputs) / hopperTuning.multiprocessors);
    return { tile, microseconds: timeOf(tile, waves, waves * sizeOf(window)) };
  });
  const measured = known[pass][keyOf([table])];
  return (
    choices.find(({ tile }) => tile.name === measured) ??
    choices.reduce((best, choice) => (choice.microseconds < best.microseconds ? choice : best))
  );
}

/** y = scale (conv(x, w) + bias + add + residual) */
export function hopperForward(
  maps: TensorMaps,
  x: Tensor,
  weight: Tensor,
  table: readonly number[],
  { bias, add, residual, scale }: Epilogue,
  chosen?: Tile,
): Tensor {
  const { device } = x;
  const layer = layerOf(table);
  const tile = chosen ?? choiceOf(table, 'forward').tile;
  const y = allocate(layer.out, { device, dtype: 'bf16' });
  const [outputs, ...window] = layer.weight;
  const operands = [
    patchesOf(maps, x, layer, tile.rows),
    maps.rows(weight.address, [outputs, sizeOf(window)], tile.columns),
    ...[y, bias, add, residual].map((t) => t?.address ?? 0),
    device.table(table),
    scale,
  ];
  const geometry = launchOf(device, tilesOf(tile, y.size / outputs, outputs));
  device.load(tile.module).conv_hopper_forward(geometry, ...operands);
  return y;
}

/** dx = scale times the sum over taps and output channels of dy w */
export function hopperInputGradient(
  maps: TensorMaps,
  dy: Tensor,
  weight: Tensor,
  table: readonly number[],
  scale: number,
  chosen?: Tile,
): Tensor {
  const { device } = dy;
  const back = mirrored(layerOf(table));
  const tile = chosen ?? choiceOf(table, 'input').tile;
  const dx = allocate(back.out, { device, dtype: 'bf16' });
  const [outputs, , , channels] = weight.shape;
  const operands = [
    patchesOf(maps, dy, back, tile.rows),
    maps.rows(weight.address, [outputs, weight.size / outputs], STEP),
    dx.address,
    device.table(table),
    scale,
  ];
  const geometry = launchOf(device, tilesOf(tile, dx.size / channels, channels));
  device.load(tile.module).conv_hopper_input_gradient(geometry, ...operands);
  return dx;
}
