// How long a kernel takes on an H100 or an H200: the largest of four lower bounds, plus what nothing overlaps. The constants are the same
// for all kernels, and each names its source. None of them was measured with this package.

export interface CardRates {
  name: string;
  /** Bytes per second of its memory according to NVIDIA's data sheet. */
  memory: number;
}

export const cards: readonly CardRates[] = [
  { name: 'H200', memory: 4.8e12 },
  { name: 'H100', memory: 3.35e12 },
];

/**
 * Sources: [1] Luo et al., Benchmarking and Dissecting the Nvidia Hopper GPU Architecture, arXiv 2402.13499, tables IV
 * and VII. [2] NVIDIA H100 Tensor Core GPU Architecture, 2022. [3] Shah et al., FlashAttention-3, arXiv 2407.08608.
 * [4] Azure ND H200 v5 results, github.com/Azure/AI-benchmarking-guide.
 */
export const hopperModel = {
  multiprocessors: 132,
  /** Cycles per second. The cards reach 1.98 GHz; products at full rate run at about 1.4 to 1.8 because of their power. */
  clock: 1.755e9,
  /** Warp instructions per cycle and multiprocessor [2], and the part of them that real kernels issue (an assumption). */
  issue: 4,
  issued: 0.75,
  /**
   * Operations per second of convolutions. The peak is 989e12 [2]; attention reaches 75 % of it [3], and large products
   * of cuBLASLt 63 to 69 % [4].
   */
  convolutions: 660e12,
  /** The part of a card's peak that mma.sync reaches on average, in place of wgmma [1]. */
  mma: 0.629 * 989e12,
  /** The part of the memory's rate that kernels reach: copies 84 %, a triad 86 % [4]. */
  streamed: 0.85,
  /** Seconds between two kernels of a graph (an assumption: 1 to 1.3 us). */
  gap: 1.2e-6,
  /** Cycles from a load to its use, without any other load [1]. */
  latency: { l1: 41, l2: 263, memory: 479 },
  /** Per multiprocessor: registers, warps, blocks, bytes of shared memory; and the bytes of it that a block costs [2]. */
  registers: 65536,
  warps: 64,
  blocks: 32,
  shared: 228 * 1024,
  sharedPerBlock: 1024,
} as const;

/** What a launch does, as counted from its machine code and its sizes. */
export interface LaunchWork {
  blocks: number;
  threads: number;
  /** Blocks that fit on a multiprocessor at once. */
  resident: number;
  /** Warp instructions of the whole launch. */
  instructions: number;
  /** Cycles that a block waits for memory, one after the other. */
  waiting: number;
  bytes: number;
  /** For products: operations of the multiprocessor that has the most. */
  products?: { unit: 'mma' | 'wgmma'; operations: number };
  /**
   * For convolutions on sm_90a: cycles per tile in which a block writes sums and no products run, its number of tiles,
   * and whether half of the warpgroups multiply meanwhile.
   */
  writing?: { cycles: number; tiles: number; turns: boolean };
}

export type Bound = 'products' | 'memory' | 'issue' | 'latency';

/** The bounds of a launch in seconds. */
export function boundsOf(work: LaunchWork, card: CardRates): Record<Bound, number> {
  const { multiprocessors, clock, issue, issued, latency: _, ...model } = hopperModel;
  const perBlock = work.instructions / work.blocks;
  const most = Math.ceil(work.blocks / multiprocessors);
  return {
    products: productSeconds(work),
    memory: work.bytes / (card.memory * model.streamed),
    issue: (most * perBlock) / (issue * issued * clock),
    latency: (Math.ceil(work.blocks / (multiprocessors * work.resident)) * work.waiting) / clock,
  };
}

function productSeconds({ products, writing }: LaunchWork): number {
  if (!products) return 0;
  const { multiprocessors, clock, convolutions, mma } = hopperModel;
  const rate = (products.unit === 'wgmma' ? convolutions : mma) / multiprocessors;
  const multiplied = products.operations / rate;
  if (!writing) return multiplied;
  const each = writing.cycles / clock;
  const all = multiplied + writing.tiles * each;
  // If warpgroups take turns, writing overlaps with the products of the next tile, except for the last.
  return writing.turns ? Math.max(multiplied, all / 2) + each : all;
}

/** Seconds of a launch, without the gap before it, and the bound that decides. */
export function timeOf(work: LaunchWork, card: CardRates): { seconds: number; bound: Bound } {
  const [bound, seconds] = Object.entries(boundsOf(work, card)).reduce((most, one) => (one[1] > most[1] ? one : most));
  return { seconds, bound: bound as Bound };
}

/** How many blocks fit on a multiprocessor. @param shared bytes of shared memory of a block */
export function residentBlocks(threads: number, registers: number, shared: number): number {
  const warps = Math.ceil(threads / 32);
  // Registers are given to warps in units of 256.
  const perWarp = Math.ceil((registers * 32) / 256) * 256;
  return Math.max(
    1,
    Math.min(
      hopperModel.blocks,
      Math.floor(hopperModel.warps / warps),
      Math.floor(hopperModel.registers / (perWarp * warps)),
      Math.floor(hopperModel.shared / (shared + hopperModel.sharedPerBlock)),
    ),
  );
}
