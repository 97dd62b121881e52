// Launches of matrix products on CUDA (product.cuh). The precision follows from the dtype of the operands and the
// setting of the device; the tile and the number of partial sums follow from the shape alone.
import type { Precision } from '../../device/device.ts';
import { chooseBuild } from '../../device/fast_builds.ts';
import {
  type CudaLaunchers,
  type CudaModule,
  cudaModule,
  type LaunchGrid,
  type Signature,
} from '../../device/module.ts';
import { dtypes } from '../../tensor/dtype.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Edge of the tile of C that a block computes: for the exact product, and for the two products on tensor cores. */
const EXACT_TILE = 32;
const SMALL_TILE = 64;
const LARGE_TILE = 128;

/** Number of blocks that keeps every multiprocessor of a large GPU busy. */
const FULL_CARD = 128;
/** The fewest terms of a partial sum, and the most partial sums. */
const LEAST_RUN = 1024;
const MOST_PARTS = 64;
/** Partial sums begin at multiples of 16 bytes, in bf16 too, because operands are copied in such chunks. */
const CHUNK = 8;
/** Bytes of shared memory per row of the tile: STAGES times two TILE_BYTES of tensor_tile.cuh, divided by the rows. */
const SHARED_PER_ROW = 3 * 2 * 80;

export interface ProductBuild<Names extends string> {
  tile: number;
  module: CudaModule<Names>;
}

/** The builds of one .cu file that includes product.cuh, by precision and tile. */
export type ProductModules<Names extends string = string> = Readonly<
  Record<Precision, readonly ProductBuild<Names>[]> & {
    /** The exact products of tensors of either dtype, which serve where a card does not run the others. */
    portable: Record<'f32' | 'bf16', ProductBuild<Names>>;
  }
>;

/** Declares all builds of a file. The exact ones are the twins of those on tensor cores: see device/fast_builds.ts. */
/* @__NO_SIDE_EFFECTS__ */
export function productModules<Names extends string>(
  path: string,
  kernels: Readonly<Record<Names, Signature>>,
): ProductModules<Names> {
  const build = (
    precision: Precision,
    tile: number,
    precisions: readonly Precision[],
    flags: readonly string[] = [],
    twin?: CudaModule,
  ): ProductBuild<Names> => {
    const variant = `${precision}.${tile}`;
    return {
      tile,
      module: cudaModule(path, kernels, { flags: [`-DTILE=${tile}`, ...flags], variant, precisions, twin }),
    };
  };
  const portable = {
    // On a device with bf16 activations, products of f32 tensors are exact.
    f32: build('fp32', EXACT_TILE, ['fp32', 'bf16']),
    bf16: build('bf16', EXACT_TILE, [], ['-DSTORAGE_BF16']),
  };
  const onTensorCores = (precision: 'tf32' | 'bf16', { module: twin }: ProductBuild<Names>, ...flags: string[]) =>
    [SMALL_TILE, LARGE_TILE].map((tile) => build(precision, tile, [precision], ['-DTENSOR_CORES', ...flags], twin));
  return {
    portable,
    fp32: [portable.f32],
    tf32: onTensorCores('tf32', portable.f32),
    bf16: onTensorCores('bf16', portable.bf16, '-DSTORAGE_BF16'),
  };
}

/** All builds of a file. */
export function productBuilds({ portable, fp32, tf32, bf16 }: ProductModules): CudaModule[] {
  return [...fp32, portable.bf16, ...tf32, ...bf16].map(({ module }) => module);
}

/** The shape of C = A B, for `batches` pairs of matrices. */
export interface ProductShape {
  rows: number;
  columns: number;
  terms: number;
  batches?: number;
}

export interface ProductLaunch<Names extends string> {
  kernels: CudaLaunchers<Names>;
  launchGrid: LaunchGrid;
  /** Partial sums, each over `run` terms. */
  parts: number;
  run: number;
}

/**
 * Kernels and grid for a product of `operand` with another of its dtype.
 * @param split whether the terms may be split into partial sums, which the caller adds: for products with many terms
 * and few tiles
 */
export function productLaunchOf<Names extends string>(
  modules: ProductModules<Names>,
  { device, dtype }: Tensor,
  { rows, columns, terms, batches = 1 }: ProductShape,
  split = false,
): ProductLaunch<Names> {
  const precision = dtype === 'bf16' ? 'bf16' : device.precision === 'tf32' ? 'tf32' : 'fp32';
  const blocks = (tile: number) => Math.ceil(rows / tile) * Math.ceil(columns / tile) * batches;
  const partsOf = (tile: number) =>
    split
      ? Math.max(1, Math.min(Math.floor(terms / LEAST_RUN), MOST_PARTS, Math.ceil((2 * FULL_CARD) / blocks(tile))))
      : 1;
  const builds = modules[precision];
  const fits = builds.filter(
    ({ tile }) => Math.min(rows, columns) > tile / 2 && blocks(tile) * partsOf(tile) >= FULL_CARD,
  );
  const usual = fits.at(-1) ?? builds[0];
  const { tile, module } = chooseBuild(device, builds, usual) ?? modules.portable[dtype as 'f32' | 'bf16'];
  const run = Math.max(CHUNK, Math.ceil(terms / partsOf(tile) / CHUNK) * CHUNK);
  const parts = Math.max(1, Math.ceil(terms / run));
  return {
    kernels: device.load(module),
    launchGrid: {
      grid: [blocks(tile), parts],
      block: [tile === EXACT_TILE ? 256 : 2 * tile],
      shared: tile === EXACT_TILE ? 0 : SHARED_PER_ROW * tile,
    },
    parts,
    run,
  };
}

/** Whether x can be read in chunks of 16 bytes along an axis of that extent. */
export function inChunks(x: Tensor, extent: number): boolean {
  return x.address % 16 === 0 && (extent * dtypes[x.dtype].bytes) % 16 === 0;
}

/** The same along the channels of an image [..., C], whose last channels may be in a second tensor. */
export function channelsInChunks(x: Tensor, second?: Tensor): boolean {
  return [x, second].every((part) => !part || inChunks(part, part.shape[part.rank - 1]));
}
