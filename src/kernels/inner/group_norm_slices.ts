// The CUDA kernels of group normalisation: the portable ones (group_norm.cu), and the fast ones (group_norm_slices.cu): which shapes
// they support, and how a sample is divided into slices of channels.
import type { Device } from '../../device/device.ts';
import { chooseBuild } from '../../device/fast_builds.ts';
import type { LaunchGrid } from '../../device/module.ts';
import { dtypes } from '../../tensor/dtype.ts';
import type { NormShape } from '../group_norm.ts';
import { type Activation, storageModules } from '../launch/storage.ts';
import { wordsOfDouble } from '../launch/words.ts';
import { roundKeys } from '../random.ts';

/** The arguments of a dropout mask: see dropoutWords. */
export const DRAW = 'ptr i32 i32 i32 i32 i32 i32 f32';

export const groupNormCuda = storageModules('kernels/group_norm.cu', {
  group_norm_forward: `ptr ptr ptr ptr ptr ptr ptr i32 f32 ${DRAW}`,
  group_norm_backward: `ptr ptr ptr ptr ptr ptr ptr ptr ptr words:16 ptr ptr ptr ptr ptr i32 ${DRAW}`,
});

/** SIZES of norm_slices.cuh, and a dropout mask with the keys of all rounds in place of the seed. */
export const SIZES = 'words:14';
export const MASK = 'ptr words:20 i32 i32 i32 i32 f32';
const forward = `ptr ptr ptr ptr ptr ptr ${SIZES} f32 ${MASK}`;
const backward = `ptr ptr ptr ptr ptr ptr ptr ptr ptr words:16 ptr ptr ptr ptr ${SIZES} ${MASK}`;

export const groupNormSlices = storageModules(
  'kernels/inner/group_norm_slices.cu',
  {
    group_norm_slices_forward: forward,
    group_norm_slices_forward_plain: forward,
    group_norm_slices_forward_masked: forward,
    group_norm_slices_backward: backward,
    group_norm_slices_backward_plain: backward,
    group_norm_slices_backward_masked: backward,
  },
  { twins: groupNormCuda },
);

/** The channels that a thread has. */
const EIGHT = 8;
/** The most channels of a slice. */
const MOST_CHANNELS = 64;
/** The fewest bytes of a pixel that a block reads, if the pixel has as many and they fit; and the fewest in any case. */
const PIECE = 64;
const LEAST_PIECE = 32;
/** The most shared memory of a block on every card from sm_80 on; and the most with which three of them fit on a multiprocessor. */
const MOST_SHARED = 99 * 1024;
const GOOD_SHARED = 75 * 1024;
/** A thread has at least this many pixels, if there are enough; and the most threads of a block. */
const PIXELS = 16;
const THREADS = 256;
const WARP = 32;
/** The most blocks in the second axis of a grid. */
const MOST_ROWS = 65_535;

/** The launch of a pass: its kernel, and the arguments by which that knows the sizes. */
export interface NormLaunch {
  run: (grid: LaunchGrid, ...values: number[]) => void;
  sizes: readonly number[];
  launchGrid: LaunchGrid;
}

/** What the launches of a pass are made from. */
export interface NormOperands {
  device: Device;
  dtype: Activation;
  /** The sizes in the order of normTableOrder. */
  table: readonly number[];
}

/** Bytes of a block's sums: see `meeting` in norm_slices.cuh. */
const meetingBytes = (slice: number, threads: number) => 4 * slice * (4 + (2 * threads) / WARP);

/** How a block is divided: channels of a slice, threads and shared memory. */
interface Division {
  slice: number;
  threads: number;
  shared: number;
}

/** The slices that a block may have, the smallest first: whole groups. @param bytes of an activation */
function candidatesOf({ firstChannels, secondChannels, groups }: NormShape, bytes: number): number[] {
  if (firstChannels % EIGHT || secondChannels % EIGHT) return [];
  const channels = firstChannels + secondChannels;
  const least = Math.min(channels, LEAST_PIECE / bytes);
  return Array.from({ length: MOST_CHANNELS / EIGHT }, (_, i) => EIGHT * (i + 1)).filter(
    (one) => one >= least && channels % one === 0 && one % (channels / groups) === 0,
  );
}

/** Threads that share a pixel. */
const spreadOf = (slice: number) => 2 ** Math.ceil(Math.log2(slice / EIGHT));

/**
 * Channels of a slice and threads of a block, for blocks that hold `staged` bytes of each element of a slice; undefined if none fits.
 * @param bytes of an activation
 */
function divisionOf(shape: NormShape, bytes: number, staged: number): Division | undefined {
  const pixels = shape.height * shape.width;
  const fitting = candidatesOf(shape, bytes)
    .map((slice): Division => {
      const rows = 2 ** Math.floor(Math.log2(Math.max(1, pixels / PIXELS)));
      const threads = Math.max(WARP, Math.min(THREADS, spreadOf(slice) * rows));
      return { slice, threads, shared: pixels * slice * staged + meetingBytes(slice, threads) };
    })
    .filter(({ shared }) => shared <= MOST_SHARED);
  const good = fitting.filter(({ shared }) => shared <= GOOD_SHARED);
  return good.find(({ slice }) => slice * bytes >= PIECE) ?? good.at(-1) ?? fitting[0];
}

/** The arguments of MASK from those of DRAW. */
export function maskWithKeys([origin, low, high, ...rest]: readonly number[]): number[] {
  return [origin, ...roundKeys(low, high), ...rest];
}

/** The words of the sizes: see sliced_of in norm_slices.cuh. */
function sizeWords(shape: NormShape, table: readonly number[], slice: number): number[] {
  const width = (shape.firstChannels + shape.secondChannels) / shape.groups;
  const magic = Math.floor(2 ** 31 / width) + 1;
  const terms = shape.height * shape.width * width;
  return [...table, slice, Math.log2(spreadOf(slice)), width, magic, ...wordsOfDouble(1 / terms)];
}

/** A grid with `columns` blocks for each sample. */
function gridOf(columns: number, batch: number): LaunchGrid['grid'] {
  const rows = Math.min(batch, MOST_ROWS);
  return [columns, rows, Math.ceil(batch / rows)];
}

/** The launch of a pass in slices; undefined if the shape is not supported, no slice fits, or this build is not used. */
export function slicedPass(
  pass: 'forward' | 'backward',
  shape: NormShape,
  { device, dtype, table, masked }: NormOperands & { masked: boolean },
): NormLaunch | undefined {
  const { bytes } = dtypes[dtype];
  // Forward holds x, backward d(loss) / d(h) in f32.
  const division = divisionOf(shape, bytes, pass === 'forward' ? bytes : 4);
  const build = { module: groupNormSlices[dtype] };
  if (!division || !chooseBuild(device, [build], build)) return undefined;
  const { batch, firstChannels, secondChannels, groups, resample, activation } = shape;
  const { slice, threads, shared } = division;
  const channels = firstChannels + secondChannels;
  const usual = activation === 'silu' && resample === 'none' && (channels / groups) % 4 === 0;
  const kind = !usual ? '' : masked ? '_masked' : '_plain';
  return {
    run: device.load(build.module)[`group_norm_slices_${pass}${kind}`],
    sizes: sizeWords(shape, table, slice),
    launchGrid: { grid: gridOf(channels / slice, batch), block: [threads], shared },
  };
}

/**
 * The sizes and the grid of blocks that hold no slice, each with one of `chunks` parts of a sample's pixels; undefined if
 * the shape is not supported.
 */
export function unstagedBlocks(
  shape: NormShape,
  { dtype, table }: NormOperands,
  chunks: number,
): Omit<NormLaunch, 'run'> | undefined {
  const { bytes } = dtypes[dtype];
  const candidates = candidatesOf(shape, bytes);
  const slice = candidates.find((one) => one * bytes >= PIECE) ?? candidates.at(-1);
  if (slice === undefined) return undefined;
  const columns = ((shape.firstChannels + shape.secondChannels) / slice) * chunks;
  return {
    sizes: sizeWords(shape, table, slice),
    launchGrid: { grid: gridOf(columns, shape.batch), block: [THREADS], shared: meetingBytes(slice, THREADS) },
  };
}
