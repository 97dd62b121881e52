// bf16 convolutions between an image of few channels and one of many on CUDA (few.cu): which shapes are supported, and the launches. They
// are the first and the last layer of a network for images.
import { chooseBuild } from '../../device/fast_builds.ts';
import { cudaModule, type LaunchGrid } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { convCuda } from './modules.ts';
import {
  type ConvEpilogue,
  type ConvShape,
  inputShape,
  isDense,
  isEvenlyPadded,
  isUnstrided,
  mirror,
  outputShape,
  toTable,
  weightShape,
} from './shape.ts';

const THREADS = 256;
/** The most terms of a patch of the image of few channels, and what the many channels are a multiple of. */
const TERMS = 32;
const MANY = 64;
/** The largest kernel, and the most pixels of a tile: a position in a tile fits into the arithmetic of few.cu. */
const MOST_TAPS = 5;
const TILE = { height: 8, width: 32 } as const;
/** Pixels of a tile of patches, and channels of a block, when the many channels are written and when they are read. */
const PIXELS = 128;
const WRITTEN = 128;
const READ = 64;
/** Blocks that fill a large GPU: two per multiprocessor. */
const BLOCKS = 2 * 132;
/** The most partial sums of a weight gradient. */
const MOST_PARTS = 64;
/** The most shared memory of a block on any card from sm_80 on. */
const MOST_SHARED = 96 * 1024;
/** Bytes of a weight gradient's tiles: three of 128 pixels with 72 channels, two of 128 patches of 40 terms. */
const GRADIENT_SHARED = 2 * PIXELS * (3 * (READ + 8) + 2 * (TERMS + 8));

const PRODUCT = 'ptr ptr ptr ptr ptr i32 i32 i32 f32';

export const fewModule = cudaModule(
  'kernels/conv/few.cu',
  {
    conv_few_widen: PRODUCT,
    conv_few_narrow: `${PRODUCT} i32 i32`,
    conv_few_weight_gradient: 'ptr ptr ptr ptr i32 i32 i32 i32',
  },
  { flags: ['-DSTORAGE_BF16'], variant: 'bf16', precisions: ['bf16'], twin: convCuda.portable.bf16.module },
);

const tapsOf = ({ kernelHeight, kernelWidth }: ConvShape) => kernelHeight * kernelWidth;

/** Which side of a convolution has few channels; undefined if the kernels do not support its shape. */
export function fewSide(shape: ConvShape): 'inputs' | 'outputs' | undefined {
  const { channels, outputs, kernelHeight, kernelWidth, paddingY, paddingX } = shape;
  if (!isUnstrided(shape) || !isDense(shape) || !isEvenlyPadded(shape)) return undefined;
  if (Math.max(kernelHeight, kernelWidth) > MOST_TAPS || paddingY >= kernelHeight || paddingX >= kernelWidth)
    return undefined;
  const fits = (few: number, many: number) =>
    few > 0 && tapsOf(shape) * few <= TERMS && many > 0 && many % MANY === 0 && sharedOf(shape, many) <= MOST_SHARED;
  if (fits(channels, outputs)) return 'inputs';
  return fits(outputs, channels) ? 'outputs' : undefined;
}

/**
 * Whether the kernels serve a convolution on the card of these tensors.
 * @param tensors bf16; the image of many channels is read in 16 bytes
 */
export function servesFew(shape: ConvShape, tensors: readonly [Tensor, ...Tensor[]]): boolean {
  if (fewSide(shape) === undefined) return false;
  if (tensors.some(({ address, dtype }) => dtype !== 'bf16' || address % 16 !== 0)) return false;
  const build = { module: fewModule };
  return chooseBuild(tensors[0].device, [build], build) !== undefined;
}

/** The pixels of y that a block of conv_few_narrow computes. */
function tileOf({ outputHeight, outputWidth }: ConvShape) {
  return { height: Math.min(TILE.height, outputHeight), width: Math.min(TILE.width, outputWidth) };
}

/** Bytes of shared memory of conv_few_narrow, whose tile has at most TILE pixels. */
function sharedOf(
  { kernelHeight, kernelWidth }: ConvShape,
  many: number,
  { height, width }: typeof TILE | ReturnType<typeof tileOf> = TILE,
) {
  const read = (height + kernelHeight - 1) * (width + kernelWidth - 1);
  return TERMS * (4 * (16 * Math.ceil(read / 16) + 4) + 2 * (many + 32));
}

/** Distances between weights in elements, and the number of the first. */
interface WeightSteps {
  output: number;
  tap: number;
  input: number;
  first: number;
}

const forwardSteps = (shape: ConvShape): WeightSteps => ({
  ...{ output: tapsOf(shape) * shape.channels, tap: shape.channels, input: 1, first: 0 },
});

/** Those of the mirrored convolution, whose taps are reversed. */
const mirroredSteps = (shape: ConvShape): WeightSteps => ({
  output: 1,
  tap: -shape.channels,
  input: tapsOf(shape) * shape.channels,
  first: (tapsOf(shape) - 1) * shape.channels,
});

/** y = scale (conv(x, w) + bias), for a convolution with few channels on one side. */
export function fewForward(x: Tensor, weight: Tensor, shape: ConvShape, { bias, scale }: ConvEpilogue): Tensor {
  const y = allocate(outputShape(shape), { device: x.device, dtype: 'bf16' });
  convolve(x, weight, y, shape, forwardSteps(shape), bias, scale);
  return y;
}

/** dx = scale times the sum over taps and output channels of dy w */
export function fewInputGradient(dy: Tensor, weight: Tensor, shape: ConvShape, scale: number): Tensor {
  const dx = allocate(inputShape(shape), { device: dy.device, dtype: 'bf16' });
  convolve(dy, weight, dx, mirror(shape), mirroredSteps(shape), undefined, scale);
  return dx;
}

function convolve(
  x: Tensor,
  weight: Tensor,
  y: Tensor,
  shape: ConvShape,
  { output, tap, input, first }: WeightSteps,
  bias: Tensor | undefined,
  scale: number,
): void {
  const { device } = x;
  const kernels = device.load(fewModule);
  const pointers = [x.address, weight.address + 2 * first, y.address, bias?.address ?? 0];
  const operands = [...pointers, device.table(toTable(shape)), output, tap, input, scale];
  if (fewSide(shape) === 'inputs') {
    const tiles = Math.ceil(y.size / shape.outputs / PIXELS);
    const grid = [Math.min(tiles, BLOCKS), Math.ceil(shape.outputs / WRITTEN)] as const;
    kernels.conv_few_widen({ grid, block: [THREADS] }, ...operands);
    return;
  }
  const tile = tileOf(shape);
  const { batch, outputHeight, outputWidth, channels } = shape;
  const blocks = batch * Math.ceil(outputHeight / tile.height) * Math.ceil(outputWidth / tile.width);
  const launchGrid: LaunchGrid = { grid: [blocks], block: [THREADS], shared: sharedOf(shape, channels, tile) };
  kernels.conv_few_narrow(launchGrid, ...operands, tile.height, tile.width);
}

/** Tiles of pixels of a partial sum of the weight gradient. */
export function fewRun({ batch, outputHeight, outputWidth }: ConvShape): { parts: number; run: number } {
  const tiles = Math.ceil((batch * outputHeight * outputWidth) / PIXELS);
  const run = Math.ceil(tiles / Math.min(MOST_PARTS, tiles));
  return { parts: Math.ceil(tiles / run), run };
}

/** Partial sums [parts, size of the weight] of the weight gradient, f32. */
export function fewWeightPartials(x: Tensor, dy: Tensor, shape: ConvShape): Tensor {
  const { device } = x;
  const few = fewSide(shape) === 'inputs';
  // With few outputs, the terms of a patch are those of dy around a pixel of x.
  const reading = few ? shape : mirror(shape);
  const { output, tap, input, first } = few ? forwardSteps(shape) : mirroredSteps(shape);
  const { parts, run } = fewRun(reading);
  const partials = allocate([parts, sizeOf(weightShape(shape))], { device });
  const pointers = [...(few ? [x, dy] : [dy, x]).map((t) => t.address), partials.address + 4 * first];
  const sizes = [device.table(toTable(reading)), output, tap, input, run];
  const launchGrid: LaunchGrid = {
    grid: [parts, reading.outputs / READ],
    block: [THREADS],
    shared: GRADIENT_SHARED,
  };
  device.load(fewModule).conv_few_weight_gradient(launchGrid, ...pointers, ...sizes);
  return partials;
}
