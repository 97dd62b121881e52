// Group normalisation of large images on CUDA (group_norm_chunks.cu): how the pixels of a sample are divided among blocks.
import { chooseBuild } from '../../device/fast_builds.ts';
import type { LaunchGrid } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { NormShape } from '../group_norm.ts';
import { storageModules } from '../launch/storage.ts';
import { groupNormCuda, MASK, type NormLaunch, type NormOperands, SIZES, unstagedBlocks } from './group_norm_slices.ts';

const inputs = 'ptr ptr ptr ptr ptr ptr';

export const groupNormChunks = storageModules(
  'kernels/inner/group_norm_chunks.cu',
  {
    group_norm_chunks_moments: `ptr ptr ${SIZES} ptr i32 i32`,
    group_norm_chunks_forward: `${inputs} ${SIZES} f32 ${MASK} ptr i32 i32`,
    group_norm_chunks_sums: `${inputs} ${SIZES} ${MASK} ptr i32 i32`,
    group_norm_chunks_backward: `${inputs} ptr ptr ptr words:16 ${SIZES} ${MASK} ptr ptr i32 i32`,
    group_norm_chunks_written: 'ptr i32 i32 i32 i32 ptr ptr ptr ptr',
  },
  { twins: groupNormCuda },
);

/** The pixels of a chunk, and the most chunks. Neither depends on the batch. */
const CHUNK = 512;
const MOST_CHUNKS = 128;
/** Words of a mean and a sum of squares in f64, in units of an f32. */
const SPREAD = 4;
const THREADS = 256;

/** The number of chunks of an image, and their pixels: a multiple of 4, so that those of an image that shrinks by two are whole. */
export function chunksOf(pixels: number): { chunk: number; chunks: number } {
  const wanted = Math.min(MOST_CHUNKS, Math.ceil(pixels / CHUNK));
  const chunk = 4 * Math.ceil(pixels / wanted / 4);
  return { chunk, chunks: Math.ceil(pixels / chunk) };
}

/** The launches of a pass in chunks; undefined if the shape is not supported, or this build is not used. */
export function chunkedPass(
  pass: 'forward' | 'backward',
  shape: NormShape,
  operands: NormOperands,
): NormLaunch | undefined {
  const { batch, height, width, firstChannels, secondChannels, groups } = shape;
  const { chunk, chunks } = chunksOf(height * width);
  const blocks = unstagedBlocks(shape, operands, chunks);
  const { device, dtype } = operands;
  const build = { module: groupNormChunks[dtype] };
  if (!blocks || !chooseBuild(device, [build], build)) return undefined;
  const kernels = device.load(build.module);
  const channels = firstChannels + secondChannels;
  const forward = (grid: LaunchGrid, ...values: number[]) => {
    using spreads = allocate([chunks, batch, groups, SPREAD], { device });
    const [x0, x1] = values;
    kernels.group_norm_chunks_moments(grid, x0, x1, ...blocks.sizes, spreads.address, chunk, chunks);
    kernels.group_norm_chunks_forward(grid, ...values, spreads.address, chunk, chunks);
  };
  const backward = (grid: LaunchGrid, ...values: number[]) => {
    using partial = allocate([chunks, 2, batch, channels], { device });
    using written = allocate([chunks, batch, channels], { device });
    // Six operands; sums, dx of both parts and 16 words of what they had received; four sums of dx; sizes and mask.
    const [first, middle, sums] = [values.slice(0, 6), values.slice(6, 25), values.slice(25, 29)];
    const rest = values.slice(29);
    const last = [partial.address, written.address, chunk, chunks];
    kernels.group_norm_chunks_sums(grid, ...first, ...rest, partial.address, chunk, chunks);
    kernels.group_norm_chunks_backward(grid, ...first, ...middle, ...rest, ...last);
    const threads = { grid: [Math.ceil((batch * channels) / THREADS)], block: [THREADS] } as const;
    kernels.group_norm_chunks_written(threads, written.address, batch, firstChannels, secondChannels, chunks, ...sums);
  };
  return { ...blocks, run: pass === 'forward' ? forward : backward };
}
