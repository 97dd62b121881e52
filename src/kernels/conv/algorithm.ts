// Chooses the algorithm of a CPU convolution, as a pure function of its shape, the instruction set and the table of
// rates that `rectiflow tune` measured for that set. Nothing is timed when a convolution runs, so the same program
// gives the same bits.
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { type InstructionSet, packagedTuning } from '../tuning/index.ts';
import { type Algorithm, algorithms, type ConvPass, type Tuning } from '../tuning/table.ts';
import { type ConvShape, isDense, isUnstrided } from './shape.ts';
import { winogradKernels } from './winograd.ts';

let own: Tuning | undefined;

/** Replaces the tables of the package by a user's table, for every CPU device; undefined restores the package's. */
export function useTuning(tuning: Tuning | undefined): void {
  own = tuning;
}

/** The instruction set that names the table; it follows from the vector length that the kernels were built with. */
export function instructionSet(device: Device): InstructionSet {
  if (device.kind === 'wasm') return 'wasm';
  const sets: Record<number, InstructionSet> = { 32: 'avx512', 16: 'avx2', 8: 'simd128' };
  const set = sets[panelOf(device)];
  if (!set) throw new ValueError(`no table is named for panels of ${panelOf(device)} channels`);
  return set;
}

export function tuningOf(device: Device): Tuning {
  return own ?? packagedTuning(instructionSet(device));
}

/** Number of channels that the Winograd kernels process at a time. */
export function panelOf(device: Device): number {
  return device.load(winogradKernels).winograd_panel();
}

/**
 * Whether Winograd's algorithms support the shape: 3 x 3 at stride 1 and dilation 1, one group, with channels in whole
 * panels, at least one.
 */
export function isWinograd(device: Device, shape: ConvShape): boolean {
  const { channels, outputs, kernelHeight, kernelWidth } = shape;
  if (kernelHeight !== 3 || kernelWidth !== 3 || !isUnstrided(shape) || !isDense(shape)) return false;
  const panel = panelOf(device);
  return channels > 0 && channels % panel === 0 && outputs % panel === 0;
}

export function algorithmFor(device: Device, shape: ConvShape, pass: ConvPass): Algorithm {
  if (device.exact || !isWinograd(device, shape)) return 'direct';
  // The input gradient computes pixels of the input, not of the output.
  const [height, width] =
    pass === 'inputGradient' ? [shape.height, shape.width] : [shape.outputHeight, shape.outputWidth];
  const { tiles, channels, rates } = tuningOf(device);
  const tile = nearest(tiles, (shape.batch * height * width) / 16);
  const [input, output] = [nearest(channels, shape.channels), nearest(channels, shape.outputs)];
  const at = (algorithm: Algorithm) => rates[pass][algorithm][tile][input][output];
  const useful = (edge: number) => (height * width) / (Math.ceil(height / edge) * Math.ceil(width / edge) * edge ** 2);
  const expected: Record<Algorithm, number> = {
    direct: at('direct'),
    winograd2: at('winograd2') * useful(2),
    winograd4: at('winograd4') * useful(4),
  };
  return algorithms.reduce((best, one) => (expected[one] > expected[best] ? one : best));
}

/** Index of the grid value that is nearest by ratio. */
function nearest(grid: readonly number[], value: number): number {
  const distance = (i: number) => Math.abs(Math.log(grid[i] / value));
  let best = 0;
  for (let i = 1; i < grid.length; i++) if (distance(i) < distance(best)) best = i;
  return best;
}
