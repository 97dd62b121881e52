// Which algorithm a convolution of the CPU takes: a pure function of its shape, the instruction set and that set's table of
// measured rates. Nothing is timed when a convolution runs, so the same program gives the same bits; `rectiflow tune` measures.
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { tunings } from '../tuning/index.ts';
import { winogradKernels } from './winograd.ts';

/** `winograd2`, `winograd4`: Winograd's minimal filtering with output tiles of 2 x 2 or 4 x 4 pixels. */
export const algorithms = ['direct', 'winograd2', 'winograd4'] as const;
export type Algorithm = (typeof algorithms)[number];

export const passes = ['forward', 'inputGradient', 'weightGradient'] as const;
export type Pass = (typeof passes)[number];

/** Rates on a grid of shapes, in GFLOP/s of the direct sum's operations. */
export interface Tuning {
  /** Numbers of 4 x 4 output tiles of a batch, ascending. */
  tiles: readonly number[];
  /** Numbers of channels, ascending, of the input as of the output. */
  channels: readonly number[];
  /** [tiles][Cin][Cout] */
  rates: Readonly<Record<Pass, Readonly<Record<Algorithm, readonly (readonly (readonly number[])[])[]>>>>;
}

let own: Tuning | undefined;

/** Puts a table of the user's in the place of those of the package, for every CPU device; undefined: back to those. */
export function useTuning(tuning: Tuning | undefined): void {
  own = tuning;
}

/** The instruction set as tables are named: by the length of the vectors that the kernels were built with. */
export function instructionSet(device: Device): keyof typeof tunings {
  if (device.kind === 'wasm') return 'wasm';
  const name = { 32: 'avx512', 16: 'avx2', 8: 'simd128' }[panelOf(device)];
  if (!name) throw new ValueError(`no table is named for panels of ${panelOf(device)} channels`);
  return name as keyof typeof tunings;
}

export function tuningOf(device: Device): Tuning {
  return own ?? tunings[instructionSet(device)];
}

/** Channels that the Winograd kernels handle at a time. */
export function panelOf(device: Device): number {
  return device.load(winogradKernels).winograd_panel();
}

/** Whether Winograd's algorithms can do it: 3 x 3 at stride 1, channels in whole panels, at least one. */
export function isWinograd(device: Device, [, , , c, , , k, kh, kw, sy, sx]: readonly number[]): boolean {
  if (kh !== 3 || kw !== 3 || sy !== 1 || sx !== 1) return false;
  const panel = panelOf(device);
  return c > 0 && c % panel === 0 && k % panel === 0;
}

/** @param table of the geometry */
export function algorithmFor(device: Device, table: readonly number[], pass: Pass): Algorithm {
  if (device.exact || !isWinograd(device, table)) return 'direct';
  const [n, h, w, c, outH, outW, k] = table;
  // The input gradient makes the input's pixels.
  const [height, width] = pass === 'inputGradient' ? [h, w] : [outH, outW];
  const { tiles, channels, rates } = tuningOf(device);
  const at = (algorithm: Algorithm) =>
    rates[pass][algorithm][nearest(tiles, (n * height * width) / 16)][nearest(channels, c)][nearest(channels, k)];
  const useful = (tile: number) => (height * width) / (Math.ceil(height / tile) * Math.ceil(width / tile) * tile ** 2);
  const expected: Record<Algorithm, number> = {
    direct: at('direct'),
    winograd2: at('winograd2') * useful(2),
    winograd4: at('winograd4') * useful(4),
  };
  return algorithms.reduce((best, one) => (expected[one] > expected[best] ? one : best));
}

/** Index of the grid's value that is nearest in ratio. */
function nearest(grid: readonly number[], value: number): number {
  const distance = (i: number) => Math.abs(Math.log(grid[i] / value));
  let best = 0;
  for (let i = 1; i < grid.length; i++) if (distance(i) < distance(best)) best = i;
  return best;
}
