// The work of a group norm for a card: how often a thread of group_norm_slices.cu executes each loop.
import { hopperModel, type LaunchWork } from './card_model.ts';
import type { NormSizes } from './launches.ts';
import { executed, factsOf, type StaticFacts, type Trips } from './machine_code.ts';
import type { PlannedNode } from './planning_device.ts';

/** Channels of a thread. */
const EIGHT = 8;
const HALF = 2;

/** The loops over pixels, as indices into a kernel's loops, each with the pixels of one iteration; and the number of all loops. */
interface NormLoops {
  loops: number;
  /** One pass after the other over the pixels; a pass has one loop, or one and another for the pixels that are left. */
  passes: readonly (readonly (readonly [loop: number, pixels: number])[])[];
  /** In place of the last pass if the norm resamples. */
  up?: readonly [loop: number, pixels: number];
  /** The loop over output pixels, and the one over the four pixels of each. */
  down?: readonly [outer: number, inner: number];
}

const staged = [
  [
    [1, 4],
    [2, 1],
  ],
  [[8, 4]],
] as const;
const forwardFlags: NormLoops = { loops: 23, passes: [...staged, [[22, 2]]], up: [19, 1], down: [20, 21] };
const backward: NormLoops = { loops: 20, passes: [[[1, 1]], [[14, 1]]] };
const forward: NormLoops = { loops: 20, passes: [...staged, [[19, 2]]] };

const kernels: Record<string, NormLoops> = {
  group_norm_slices_forward: forwardFlags,
  group_norm_slices_forward_unstaged: forwardFlags,
  group_norm_slices_forward_plain: forward,
  group_norm_slices_forward_masked: forward,
  group_norm_slices_backward: backward,
  group_norm_slices_backward_unstaged: backward,
  group_norm_slices_backward_plain: backward,
  group_norm_slices_backward_masked: backward,
};

function tripsOf(name: string, pixels: number, resample: 0 | 1 | 2, count: number, others: number): Trips {
  const known = kernels[name];
  if (known?.loops !== count)
    throw new Error(`${name} has ${count} loops instead of ${known?.loops}: see bench/gpu/norm_work.ts`);
  const times = new Map<number, number>();
  const resampled = known.up && known.down && resample > 0;
  for (const pass of resampled ? known.passes.slice(0, -1) : known.passes) {
    let left = pixels;
    pass.forEach(([loop, each], i) => {
      const trips = i === pass.length - 1 ? Math.ceil(left / each) : Math.floor(left / each);
      times.set(loop, trips);
      left -= trips * each;
    });
  }
  if (resampled && resample === 1 && known.up) times.set(known.up[0], pixels);
  if (resampled && resample === 2 && known.down) {
    times.set(known.down[0], Math.ceil(pixels / 4));
    times.set(known.down[1], 4 * Math.ceil(pixels / 4));
  }
  const big = new Set([...known.passes.flat().map(([loop]) => loop), known.up?.[0], ...(known.down ?? [])]);
  return (_, index) => times.get(index) ?? (big.has(index) ? 0 : others);
}

export function normWork(node: PlannedNode, sizes: NormSizes, statics: StaticFacts): LaunchWork {
  const { name, arguments: values } = node;
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const isForward = name.startsWith('group_norm_slices_forward');
  const slice = values[isForward ? 7 : 30];
  const vectors = 2 ** Math.ceil(Math.log2(slice / EIGHT));
  const pixels = Math.ceil((sizes.height * sizes.width * vectors) / threads);
  const resample = sizes.resample as 0 | 1 | 2;
  const elements = sizes.batch * sizes.height * sizes.width * (sizes.firstChannels + sizes.secondChannels);
  const written = elements * { 0: 1, 1: 4, 2: 0.25 }[resample];
  const joined = isForward ? 0 : [9, 13, 17, 21].filter((at) => values[at] || values[at + 1]).length;
  // The other loops add up within a warp, over the warps of a block, and over the channels of a group.
  const channels = sizes.firstChannels + sizes.secondChannels;
  const others = Math.max(Math.log2(32 / vectors), threads / 32, channels / sizes.groups);
  const trips = tripsOf(name, pixels, resample, facts.loops.length, others);
  // The path of a backward pass that joins no, one or two gradients of each part.
  const parts = sizes.secondChannels > 0 ? 2 : 1;
  const loops = facts.loops.map((loop) => {
    // Without a staged slice, loads of dy are in branches too.
    const plain = (name.endsWith('_unstaged') ? undefined : loop.plain) ?? loop.instructions;
    return { ...loop, instructions: plain + ((loop.instructions - plain) * joined) / (2 * parts) };
  });
  const warp = executed({ ...facts, loops }, trips, hopperModel.latency.l2);
  return {
    ...{ blocks, threads, resident, instructions: (blocks * threads * warp.instructions) / 32, waiting: warp.waiting },
    // Backward reads x a second time while it is in L2.
    bytes: HALF * (isForward ? elements + written : 2 * elements + written + (joined / parts) * elements),
  };
}
