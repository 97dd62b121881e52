// Launch grids for CUDA kernels. Counts are at least 1.
import type { LaunchGrid } from '../../device/module.ts';

const THREADS = 256;
const WARP = 32;
const WARPS = 4;

/** One thread per element. */
export function perElement(count: number): LaunchGrid {
  return { grid: [Math.ceil(count / THREADS)], block: [THREADS] };
}

/** One warp per row, or per run of a sum. */
export function perWarp(count: number): LaunchGrid {
  return { grid: [Math.ceil(count / WARPS)], block: [WARPS * WARP] };
}

export const oneWarp: LaunchGrid = { grid: [1], block: [WARP] };

/**
 * Terms of a run, which are added in f32; the sums of runs are added in double. It is RUN in reduce.cu, loss.cu and
 * others.
 */
const RUN = 4096;
export const runFlag = `-DRUN=${RUN}`;

/** The number of runs of a sum of `count` terms, at least 1. */
export function runsOf(count: number): number {
  return Math.max(1, Math.ceil(count / RUN));
}
