// The CUDA kernels of group normalisation: the portable ones (group_norm.cu), and the fast ones (group_norm_slices.cu): which shapes
// they support, and how a sample is divided into slices of channels.
import type { LaunchGrid } from '../../device/module.ts';
import type { NormShape } from '../group_norm.ts';
import { storageModules } from '../launch/storage.ts';

/** The arguments of a dropout mask: see dropoutWords. */
export const DRAW = 'ptr i32 i32 i32 i32 i32 i32 f32';

const forward = `ptr ptr ptr ptr ptr ptr ptr i32 f32 ${DRAW}`;
const backward = `ptr ptr ptr ptr ptr ptr ptr ptr ptr words:16 ptr ptr ptr ptr ptr i32 ${DRAW}`;

export const groupNormCuda = storageModules('kernels/group_norm.cu', {
  group_norm_forward: forward,
  group_norm_backward: backward,
});

export const groupNormSlices = storageModules(
  'kernels/inner/group_norm_slices.cu',
  {
    group_norm_slices_forward: forward,
    group_norm_slices_forward_unstaged: forward,
    group_norm_slices_forward_plain: forward,
    group_norm_slices_forward_masked: forward,
    group_norm_slices_backward: backward,
    group_norm_slices_backward_unstaged: backward,
    group_norm_slices_backward_plain: backward,
    group_norm_slices_backward_masked: backward,
  },
  { twins: groupNormCuda },
);

/** The channels that a thread has. */
const EIGHT = 8;
/** The most channels of a slice: MOST_CHANNELS of norm_slices.cuh. */
const MOST_CHANNELS = 64;
/** The fewest bytes of a pixel that a block reads, if the pixel has as many. */
const LEAST_PIECE = { forward: 64, backward: 32 } as const;
/** The most dynamic shared memory of a block: every card from sm_80 on has 99 KiB, 6.3 of which are static. */
const MOST_STAGED = 92 * 1024;
/** A thread has at least this many pixels, if there are enough; and the most threads of a block. */
const PIXELS = 16;
const THREADS = 256;

export interface NormSlices {
  kind: '' | '_unstaged' | '_plain' | '_masked';
  /** Channels of a slice. */
  slice: number;
  launchGrid: LaunchGrid;
}

/**
 * The launch of the fast kernels; undefined if they do not support the shape.
 * @param bytes of an activation
 * @param masked whether there is dropout
 */
export function slicesOf(
  pass: 'forward' | 'backward',
  { batch, height, width, firstChannels, secondChannels, groups, resample, activation }: NormShape,
  bytes: number,
  masked: boolean,
): NormSlices | undefined {
  if (firstChannels % EIGHT || secondChannels % EIGHT) return undefined;
  const channels = firstChannels + secondChannels;
  const least = Math.min(channels, LEAST_PIECE[pass] / bytes);
  const candidates = Array.from({ length: MOST_CHANNELS / EIGHT }, (_, i) => EIGHT * (i + 1));
  const slice = candidates.find((one) => one >= least && channels % one === 0 && one % (channels / groups) === 0);
  if (slice === undefined) return undefined;
  const pixels = height * width;
  // Forward holds x, backward d(loss) / d(h) in f32.
  const shared = pixels * slice * (pass === 'forward' ? bytes : 4);
  const staged = shared <= MOST_STAGED;
  const vectors = 2 ** Math.ceil(Math.log2(slice / EIGHT));
  const rows = 2 ** Math.floor(Math.log2(Math.max(1, pixels / PIXELS)));
  const threads = Math.max(32, Math.min(THREADS, vectors * rows));
  const usual = activation === 'silu' && resample === 'none' && (channels / groups) % 4 === 0;
  return {
    kind: !staged ? '_unstaged' : !usual ? '' : masked ? '_masked' : '_plain',
    slice,
    launchGrid: { grid: [batch * (channels / slice)], block: [threads], shared: staged ? shared : 0 },
  };
}
