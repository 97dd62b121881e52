// Launch grids that the CUDA halves of ops share. Counts are at least 1.
import type { LaunchGrid } from '../../device/module.ts';

const THREADS = 256;
const WARP = 32;
const WARPS = 4;

/** One thread an element. */
export function perElement(count: number): LaunchGrid {
  return { grid: [Math.ceil(count / THREADS)], block: [THREADS] };
}

/** One warp a row, or a run of a sum. */
export function perWarp(count: number): LaunchGrid {
  return { grid: [Math.ceil(count / WARPS)], block: [WARPS * WARP] };
}

export const oneWarp: LaunchGrid = { grid: [1], block: [WARP] };

/** Terms that a sum adds in f32 before the sums of its runs are added in double: RUN of reduce.cu, loss.cu and others. */
export const RUN = 4096;
export const runFlag = `-DRUN=${RUN}`;

/** Into how many runs a sum of that many terms is cut, at least 1. */
export function runsOf(count: number): number {
  return Math.max(1, Math.ceil(count / RUN));
}
