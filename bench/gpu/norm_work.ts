// The work of a group norm for a card: how often a thread of group_norm_slices.cu executes each loop.
import type { CodeFacts } from '../code_facts.ts';
import { hopperModel, type LaunchWork } from './card_model.ts';
import type { NormSizes } from './layer_parts.ts';
import { executed, factsOf, type StaticFacts } from './machine_code.ts';
import type { PlannedNode } from './planning_device.ts';

/** Channels of a thread, and those that surely share a group in builds for the usual norms. */
const EIGHT = 8;
const LUMP = 4;
const HALF = 2;
const WARP = 32;

/**
 * What a loop goes over. Pixels: `ahead`, four at a time, then `single`, for statistics; `two`, then `one`, for forward's result or
 * backward's sums; `finish` with the number of gradients that are joined, two pixels at a time, then `last`. `lanes`: the
 * distances at which lanes are added up. `channels`: a thread's channels of the slice; `warps`: those of a block, for each sum of a
 * channel or lump; `groups` and `lumps`, or `members`: a thread's groups, and the lumps or channels of each.
 */
type Role =
  | ('ahead' | 'single' | 'two' | 'one' | 'oneMasked' | 'up' | 'down' | 'four' | 'fourMasked')
  | `${'finish' | 'last'}${0 | 1 | 2}`
  | ('lanes' | 'channels' | 'warps' | 'groups' | 'lumps' | 'members');

const statistics = ['ahead', 'single', 'lanes', 'lumps', 'warps', 'warps'] as const;
const sums = ['lanes', 'channels', 'warps', 'warps', 'groups', 'members'] as const;
const pixelSums = ['lanes', 'channels', 'warps'] as const;
const joined = ['finish2', 'last2', 'finish1', 'last1', 'finish0', 'last0'] as const;
const forward = [...statistics, 'two', 'one'] as const;
const backward = ['two', 'one', ...sums, ...joined, ...pixelSums] as const;

/** The loops of each kernel in the order of its machine code. */
const rolesOf: Record<string, readonly Role[]> = {
  group_norm_slices_forward: [...statistics, 'up', 'down', 'four', 'fourMasked', 'two', 'one', 'oneMasked'],
  group_norm_slices_forward_plain: forward,
  group_norm_slices_forward_masked: forward,
  group_norm_slices_backward: ['one', ...sums, 'last2', 'last1', 'last0', ...pixelSums],
  group_norm_slices_backward_plain: backward,
  group_norm_slices_backward_masked: backward,
};

function loopsOf(name: string, { loops }: CodeFacts) {
  const roles = rolesOf[name];
  if (roles?.length !== loops.length)
    throw new Error(`${name} has ${loops.length} loops instead of ${roles?.length}: see bench/gpu/norm_work.ts`);
  return loops.map((loop, i) => ({ role: roles[i], instructions: loop.instructions }));
}

/**
 * Instructions per element of the loops over pixels in a kernel for the usual norms.
 * @param gradients that backward joins
 */
export function perElement(name: string, facts: CodeFacts, gradients = 0): number {
  const pixels: Partial<Record<Role, number>> = { ahead: 4, two: 2, [`finish${gradients}`]: 2 };
  return loopsOf(name, facts).reduce(
    (total, { role, instructions }) => total + (pixels[role] ? instructions / (EIGHT * pixels[role]) : 0),
    0,
  );
}

interface ThreadWork {
  /** The pixels of a thread. */
  pixels: number;
  /** Threads that share a pixel, warps of a block, channels of a slice and of a group. */
  spread: number;
  warps: number;
  slice: number;
  width: number;
  resample: number;
  masked: boolean;
  /** The parts of all pixels in which no, one and two gradients are joined. */
  joins: readonly [number, number, number];
}

/** How often a thread executes a loop with that role. */
function tripsOf(name: string, work: ThreadWork): Partial<Record<Role, number>> {
  const { pixels, spread, warps, slice, width, resample, masked, joins } = work;
  const isFlags = /(forward|backward)$/.test(name);
  const isForward = name.includes('forward');
  const lump = isFlags ? 1 : LUMP;
  const channels = Math.ceil(slice / (WARP * warps));
  const pairs = isForward || !isFlags ? Math.floor(pixels / 2) : 0;
  const rest = pixels - 2 * pairs;
  const usual = resample === 0 || !isForward;
  return {
    ahead: Math.floor(pixels / 4),
    single: pixels % 4,
    two: usual ? pairs : 0,
    one: usual && !(masked && isForward && isFlags) ? rest : 0,
    oneMasked: usual && masked ? rest : 0,
    up: resample === 1 ? pixels : 0,
    down: resample === 2 ? Math.ceil(pixels / 4) : 0,
    four: resample === 2 && !masked ? 4 * Math.ceil(pixels / 4) : 0,
    fourMasked: resample === 2 && masked ? 4 * Math.ceil(pixels / 4) : 0,
    ...Object.fromEntries(joins.map((part, i) => [`finish${i}`, part * pairs])),
    ...Object.fromEntries(joins.map((part, i) => [`last${i}`, part * rest])),
    lanes: Math.log2(WARP / spread),
    channels,
    warps: warps * (isForward ? width / lump : channels),
    groups: Math.ceil(slice / width / (WARP * warps)),
    lumps: width / lump,
    members: width * Math.ceil(slice / width / (WARP * warps)),
  };
}

/** Where the sizes and the mask's threshold are among a kernel's arguments. */
export const sizesAt = (kernel: string) => (kernel.includes('forward') ? 6 : 29);
const thresholdAt = (kernel: string) => (kernel.includes('forward') ? 45 : 67);
/** The index of the slice's channels among the words of the sizes. */
const SLICE = 8;

export function normWork(node: PlannedNode, sizes: NormSizes, statics: StaticFacts): LaunchWork {
  const { name, arguments: values } = node;
  const { facts, blocks, threads, resident } = factsOf(node, statics);
  const isForward = name.includes('forward');
  const channels = sizes.firstChannels + sizes.secondChannels;
  const slice = values[sizesAt(name) + SLICE];
  const spread = 2 ** Math.ceil(Math.log2(slice / EIGHT));
  const elements = sizes.batch * sizes.height * sizes.width * channels;
  const written = elements * { 0: 1, 1: 4, 2: 0.25 }[sizes.resample as 0 | 1 | 2];
  // The gradients that each part of x has already received.
  const joins: [number, number, number] = [0, 0, 0];
  [sizes.firstChannels, sizes.secondChannels].forEach((part, p) => {
    const received = [9, 13].filter((at) => !isForward && (values[at + 8 * p] || values[at + 8 * p + 1]));
    joins[received.length] += part / channels;
  });
  const trips = tripsOf(name, {
    ...{ pixels: Math.ceil((sizes.height * sizes.width * spread) / threads), spread, slice, joins },
    ...{ warps: threads / WARP, width: channels / sizes.groups, resample: sizes.resample },
    masked: values[thresholdAt(name)] > 0,
  });
  const roles = loopsOf(name, facts);
  const warp = executed(facts, (_, i) => trips[roles[i].role] ?? 0, hopperModel.latency.l2);
  return {
    ...{
      blocks,
      threads,
      resident,
      instructions: (blocks * threads * warp.instructions) / WARP,
      waiting: warp.waiting,
    },
    // Backward reads x a second time while it is in L2.
    bytes: HALF * (isForward ? elements + written : 2 * elements + written + (joins[1] + 2 * joins[2]) * elements),
  };
}
