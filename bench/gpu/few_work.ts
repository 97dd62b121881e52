// The work of convolutions between few channels and many for a card: what the kernels of conv/few.cu execute.
import { type ConvShape, mirror } from '../../src/kernels/conv/shape.ts';
import { hopperModel, type LaunchWork } from './card_model.ts';
import { executed, factsOf, type StaticFacts, type Trips } from './machine_code.ts';
import type { PlannedNode } from './planning_device.ts';

/** Terms of a patch, pixels and channels of a tile: see few.cu. */
const TERMS = 32;
const PIXELS = 128;
const COLUMNS = 128;
const STEP = 64;
const WARP = 32;

/** Which pass of which convolution a launch computes. @param reading the convolution whose table the launch has */
export function fewPass(
  { name, arguments: values }: PlannedNode,
  reading: ConvShape,
): { shape: ConvShape; pass: 'forward' | 'input' | 'weight' } {
  const gradient = name === 'conv_few_weight_gradient';
  // The taps of a mirrored convolution are in reverse.
  const mirrored = values[gradient ? 5 : 6] < 0;
  return { shape: mirrored ? mirror(reading) : reading, pass: gradient ? 'weight' : mirrored ? 'input' : 'forward' };
}

interface Few {
  trips: Trips;
  /** Operations of a block. */
  operations: number;
}

function fewOf({ name, launchGrid, arguments: values }: PlannedNode, shape: ConvShape): Few {
  const { batch, height, width, channels, outputs, outputHeight, outputWidth, kernelHeight, kernelWidth } = shape;
  const tiles = Math.ceil((batch * outputHeight * outputWidth) / PIXELS);
  if (name !== 'conv_few_narrow') {
    const gradient = name === 'conv_few_weight_gradient';
    const run = gradient ? values[7] : Math.ceil(tiles / (launchGrid?.grid[0] as number));
    const each = 2 * PIXELS * TERMS * (gradient ? STEP : COLUMNS);
    return { trips: (loop) => (loop.products > 0 ? run : 0), operations: run * each };
  }
  const [tileHeight, tileWidth] = values.slice(9);
  const read = Math.min(height, tileHeight + kernelHeight - 1) * Math.min(width, tileWidth + kernelWidth - 1);
  const rounds = Math.ceil(read / PIXELS);
  const trips: Trips = (loop, index, loops) => {
    const inner = loops.some(({ parent }) => parent === index);
    const around = loop.parent < 0 ? 1 : trips(loops[loop.parent], loop.parent, loops);
    if (loop.products > 0) return around * (channels / STEP);
    if (loops.some(({ parent, products }) => parent === index && products > 0)) return rounds;
    if (loop.loads[2]) return channels / WARP;
    if (loop.parent >= 0) return around * (inner ? kernelHeight : kernelWidth);
    // Without loops inside it would be a kernel without taps.
    return inner ? outputs : 0;
  };
  return { trips, operations: rounds * 2 * PIXELS * TERMS * channels };
}

/** @param shape the convolution whose table the launch has; bytes of operands and results without partial sums */
export function fewWork(node: PlannedNode, shape: ConvShape, bytes: number, statics: StaticFacts): LaunchWork {
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const { trips, operations } = fewOf(node, shape);
  const { latency, multiprocessors } = hopperModel;
  const warp = executed(facts, trips, node.name === 'conv_few_narrow' ? latency.memory : latency.l2);
  const { channels, outputs, kernelHeight, kernelWidth } = shape;
  const parts = node.name === 'conv_few_weight_gradient' ? (node.launchGrid?.grid[0] as number) : 0;
  return {
    ...{ blocks, threads, resident, waiting: warp.waiting },
    instructions: (blocks * threads * warp.instructions) / WARP,
    bytes: bytes + 4 * parts * channels * outputs * kernelHeight * kernelWidth,
    products: { unit: 'mma', operations: Math.ceil(blocks / multiprocessors) * operations },
  };
}
