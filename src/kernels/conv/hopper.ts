// Convolutions of bf16 on sm_90a: which of them, with which tile, and their launches (hopper.cu).
import type { Device, TensorMaps } from '../../device/device.ts';
import { cudaModule } from '../../device/module.ts';
import { empty } from '../../tensor/create.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperTuning } from '../tuning/sm_90a.ts';
import type { Epilogue, Geometry } from './geometry.ts';

/** Terms of a step, and what channels are a multiple of: 128 bytes, as wide as the swizzle of tensor maps. */
const STEP = 64;
/**
 * Three warpgroups, and the ring of stages, which begins at a multiple of 1024 bytes (hopper.cu); a block for each
 * multiprocessor, which makes one tile after another.
 */
const launchOf = ({ workers }: Device, tiles: number) =>
  ({ grid: [Math.min(tiles, workers)], block: [384], shared: 193 * 1024 }) as const;
/** How far a patch may reach beyond the image: tensor maps have 8 bits for it. */
const MOST_REACH = 127;
/** Steps that a partial sum of a weight gradient has at least, and the most partial sums. */
const LEAST_STEPS = 8;
const MOST_PARTS = 64;

const build = { precisions: ['bf16'], target: 'sm_90a' } as const;

export const hopperBuilds = hopperTuning.tiles.map((tile) => ({
  ...tile,
  module: cudaModule(
    import.meta.url,
    './hopper.cu',
    {
      conv_hopper_forward: 'map map ptr ptr ptr ptr ptr f32',
      conv_hopper_input_gradient: 'map map ptr ptr f32',
      conv_hopper_weight_gradient: 'map map ptr ptr i32 i32',
    },
    {
      ...build,
      flags: ['-DSTORAGE_BF16', `-DROWS=${tile.rows}`, `-DCOLUMNS=${tile.columns}`, `-DTOGETHER=${tile.together}`],
      variant: `${tile.rows}x${tile.columns}${tile.together === 1 ? '.turns' : ''}`,
    },
  ),
}));

/** A convolution at stride 1. */
interface Layer {
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
 * @param tensors read in pieces of 16 bytes, bf16
 * @param bias read so, f32
 */
export function hopperMaps(
  { table }: Geometry,
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

function patchesOf(maps: TensorMaps, x: Tensor, { weight: [, kh, kw], padding: [padY, padX] }: Layer, count: number) {
  return maps.patches(x.address, x.shape, [-padY, -padX], [padY - (kh - 1), padX - (kw - 1)], count);
}

type Tile = (typeof hopperBuilds)[number];

const tilesOf = (tile: Tile, rows: number, columns: number) =>
  Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);

/** Microseconds that `blocks` blocks of a tile take over so many terms each. */
function predicted({ rows, columns, together, efficiency }: Tile, blocks: number, terms: number): number {
  const { multiprocessors, rate, writing } = hopperTuning;
  const waves = Math.ceil(blocks / multiprocessors);
  const products = (2 * rows * columns * terms) / (rate * efficiency);
  // In turns, sums are written beside the next tile's products, but for the last one's.
  return together === 1 ? waves * Math.max(products, (products + writing) / 2) + writing : waves * (products + writing);
}

function fastest(time: (tile: Tile) => number): Tile {
  const times = hopperBuilds.map(time);
  return hopperBuilds[times.indexOf(Math.min(...times))];
}

/** The tile of a forward pass, by the shape alone: its sums are the same with each. */
export function forwardTile({ out: [n, height, width, outputs], weight: [, ...window] }: Layer): Tile {
  return fastest((tile) => predicted(tile, tilesOf(tile, n * height * width, outputs), sizeOf(window)));
}

/** How a weight gradient is cut, by the shape alone: each tap has a matrix [Cout, Cin], the pixels are the terms. */
function splitOf(tile: Tile, { out: [n, height, width, outputs], weight: [, kh, kw, channels] }: Layer) {
  const tiles = tilesOf(tile, outputs, channels) * kh * kw;
  const steps = Math.ceil((n * height * width) / STEP);
  const wanted = Math.floor(hopperTuning.multiprocessors / tiles);
  const parts = Math.max(1, Math.min(wanted, MOST_PARTS, Math.floor(steps / LEAST_STEPS)));
  const run = Math.ceil(steps / parts);
  return { tiles, parts: Math.ceil(steps / run), run: run * STEP };
}

/** The tile of a weight gradient, which decides in how many parts its sums are made. */
export function weightGradientTile(layer: Layer): Tile {
  return fastest((tile) => {
    const { tiles, parts, run } = splitOf(tile, layer);
    return predicted(tile, tiles * parts, run);
  });
}

export interface Choice {
  rows: number;
  columns: number;
  /** In which the sums of a weight gradient are made. */
  parts: number;
  /** Of the products, predicted. */
  microseconds: number;
}

/** What a pass is made with, and its time by arithmetic. */
export function chosenTile(layer: Layer, pass: 'forward' | 'input' | 'weight'): Choice {
  if (pass === 'weight') {
    const tile = weightGradientTile(layer);
    const { tiles, parts, run } = splitOf(tile, layer);
    return { rows: tile.rows, columns: tile.columns, parts, microseconds: predicted(tile, tiles * parts, run) };
  }
  const { out, weight, ...rest } = pass === 'input' ? mirrored(layer) : layer;
  const tile = forwardTile({ ...rest, out, weight });
  const [outputs, ...window] = weight;
  const tiles = tilesOf(tile, sizeOf(out) / outputs, outputs);
  return { rows: tile.rows, columns: tile.columns, parts: 1, microseconds: predicted(tile, tiles, sizeOf(window)) };
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
  const tile = chosen ?? forwardTile(layer);
  const y = empty(layer.out, { device, dtype: 'bf16' });
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
  const tile = chosen ?? forwardTile(back);
  const dx = empty(back.out, { device, dtype: 'bf16' });
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

/** f32 [parts, size of the weight]: partial sums, to be added in order. */
export function hopperWeightPartials(
  maps: TensorMaps,
  x: Tensor,
  dy: Tensor,
  table: readonly number[],
  chosen?: Tile,
): Tensor {
  const { device } = x;
  const layer = layerOf(table);
  const tile = chosen ?? weightGradientTile(layer);
  const { tiles, parts, run } = splitOf(tile, layer);
  const partials = empty([parts, sizeOf(layer.weight)], { device });
  const outputs = layer.weight[0];
  const operands = [
    patchesOf(maps, x, layer, STEP),
    maps.rows(dy.address, [dy.size / outputs, outputs], STEP),
    partials.address,
    device.table(table),
    parts,
    run,
  ];
  const geometry = launchOf(device, tiles * parts);
  device.load(tile.module).conv_hopper_weight_gradient(geometry, ...operands);
  return partials;
}
