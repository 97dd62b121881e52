// Launch grids for CUDA kernels. Counts are at least 1.
import type { LaunchGrid } from '../../device/module.ts';

const THREADS = 256;
const WARP = 32;
const WARPS = 4;

/** One thread per element, or for each `several` neighbouring elements. */
export function perElement(count: number, several = 1): LaunchGrid {
  return { grid: [Math.ceil(count / (THREADS * several))], block: [THREADS] };
}

/** One warp per row, or per run of a sum. */
export function perWarp(count: number): LaunchGrid {
  return { grid: [Math.ceil(count / WARPS)], block: [WARPS * WARP] };
}

/** Threads are counted in 32 bits, so there are at most 2^27 warps. */
const MOST_WARPS = 2 ** 27;

/**
 * Threads for `count` results, each of several terms: `lanes` of them for one, a warp if the terms are neighbours in
 * memory (`inner` is 1), else one thread.
 */
export function perResult(count: number, inner: number): { grid: LaunchGrid; lanes: number } {
  const warps = inner === 1 && count < MOST_WARPS;
  return warps ? { grid: perWarp(count), lanes: WARP } : { grid: perElement(count), lanes: 1 };
}

export const oneBlock: LaunchGrid = { grid: [1], block: [1024] };

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
