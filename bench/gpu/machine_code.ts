// What the machine code of the step's kernels is known to do (bench/results/kernels-static.json), and how often a launch executes each
// of its loops. A loop that is not accounted for is an error, so that a changed kernel cannot keep an old prediction.
import { existsSync, readFileSync } from 'node:fs';
import { parseJsonFile } from '../../src/io/json.ts';
import type { CodeFacts, LoopFacts } from '../code_facts.ts';
import { hopperModel, residentBlocks } from './card_model.ts';
import type { PlannedNode } from './planning_device.ts';

interface Build {
  registers: number;
  shared: number;
}

/** The statistics of all builds, and the machine code of the step's kernels for sm_90a, by module and kernel. */
export interface StaticFacts {
  builds: Record<string, Record<string, Record<string, Build>>>;
  code: Record<string, Record<string, CodeFacts>>;
}

/** A file of bench/results that this package was built with; in the built folder it is next to this one. */
export function jsonBeside(name: string): unknown {
  const places = [`./${name}`, `../results/${name}`].map((at) => new URL(at, import.meta.url));
  const found = places.find((place) => existsSync(place)) ?? places[0];
  return parseJsonFile(readFileSync(found), found.pathname);
}

let known: StaticFacts | undefined;

export function staticFacts(): StaticFacts {
  known ??= jsonBeside('kernels-static.json') as StaticFacts;
  return known;
}

/** What one warp executes, and the cycles for which it waits for memory. */
export interface Executed {
  instructions: number;
  waiting: number;
}

/** How often each loop of a kernel runs, over the whole life of a warp. */
export type Trips = (loop: LoopFacts, index: number, loops: readonly LoopFacts[]) => number;

const totalOf = (counts: Record<string, number>) => Object.values(counts).reduce((sum, count) => sum + count, 0);

/** A warp's path through a kernel. @param latency cycles of a wait within loops; outside of them it is that of memory */
export function executed(facts: CodeFacts, trips: Trips, latency: number = hopperModel.latency.memory): Executed {
  let { instructions } = facts;
  let waiting = totalOf(facts.waits) * hopperModel.latency.memory;
  facts.loops.forEach((loop, i) => {
    const times = trips(loop, i, facts.loops);
    instructions += times * loop.instructions;
    waiting += times * totalOf(loop.waits) * latency;
  });
  return { instructions, waiting };
}

/** A kernel whose loops go over elements, several at a time in some loops. */
interface Stream {
  /** The number of its loops, and the loops of each pass over the elements. */
  loops: number;
  passes: readonly (readonly number[])[];
  /** Elements that a loop loads of each array in one iteration are its loads, divided by the number of arrays. */
  arrays?: number;
  /** A loop within the outer one. */
  inner?: number;
}

const pair = { loops: 2, passes: [[0, 1]] } as const;

const streams: Record<string, Stream> = {
  softmax_forward: {
    loops: 6,
    passes: [
      [0, 1],
      [2, 3],
      [4, 5],
    ],
  },
  softmax_backward: {
    loops: 4,
    passes: [
      [0, 1],
      [2, 3],
    ],
  },
  // The first loop finds the entry of a block; the next two are for elements that are not aligned.
  leaf_gradients_add: { loops: 5, passes: [[3, 4]] },
  leaf_gradients_rows: { loops: 3, passes: [[1, 2]] },
  resample_sum_eights: { loops: 2, passes: [[1]] },
  resample_repeat_eights: { loops: 2, passes: [], inner: 1 },
  // A loop over elements that are not aligned.
  accumulate_add: { loops: 1, passes: [] },
  cast_to_bf16: { loops: 1, passes: [] },
  cast_from_bf16: { loops: 1, passes: [] },
  reduce_sum_columns: { loops: 2, passes: [[1]] },
  reduce_sum_runs: { loops: 3, passes: [[0, 1, 2]] },
  loss_squares_runs: { ...pair, arrays: 2 },
  loss_squares_sum: pair,
  optimizer_norm_runs: pair,
  // The last two loops read few numbers.
  optimizer_norm: { loops: 4, passes: [[0, 1]] },
  // The loops are for elements that are not aligned or not in order.
  elementwise_mul: { loops: 5, passes: [] },
  elementwise_add: { loops: 5, passes: [] },
  elementwise_silu: { loops: 1, passes: [] },
  elementwise_silu_backward: { loops: 1, passes: [] },
  // The loops reduce angles beyond 2^17, which do not occur.
  flow_inputs_sinusoids: { loops: 2, passes: [] },
};

/** The loops outside of a stream's passes. */
export interface Other {
  /** Iterations of a search for the entry of a block, and of an outer loop. */
  search?: number;
  outer?: number;
  /** Iterations of all runs of the loop within the outer one. */
  inner?: number;
}

/** Trips of a kernel in `streams` with that many elements per thread and pass, or of one without loops. */
export function streamTrips(
  name: string,
  facts: CodeFacts,
  elements: number,
  { search = 0, outer = 0, inner = 0 }: Other = {},
): Trips {
  const stream = streams[name] ?? { loops: 0, passes: [] };
  if (facts.loops.length !== stream.loops)
    throw new Error(
      `${name} has ${facts.loops.length} loops instead of ${stream.loops}: see bench/gpu/machine_code.ts`,
    );
  const each = (loop: LoopFacts) => Math.max(...Object.values(loop.loads)) / (stream.arrays ?? 1);
  const times = new Map<number, number>();
  if (stream.inner !== undefined) times.set(stream.inner, inner);
  for (const pass of stream.passes) {
    let left = elements;
    for (const index of pass.toSorted((a, b) => each(facts.loops[b]) - each(facts.loops[a]))) {
      const trips = Math.floor(left / each(facts.loops[index]));
      times.set(index, trips);
      left -= trips * each(facts.loops[index]);
    }
  }
  return (_, index) => times.get(index) ?? (index === 0 ? search + outer : 0);
}

/** What a product on mma.sync executes: see tensor_tile.cuh. */
export interface MmaLoops {
  /** Steps of 32 terms. */
  steps: number;
  /** Whether the left and the right operand are copied in chunks of 16 bytes; otherwise element by element. */
  chunked: readonly [left: boolean, right: boolean];
  /** Iterations of a search among the entries of a table. */
  search?: number;
}

/** Steps that are copied before the first product, and elements of a chunk. */
const AHEAD = 2;
const CHUNK = 8;

export function mmaTrips({ steps, chunked, search = 0 }: MmaLoops): Trips {
  const trips: Trips = (loop, index, loops) => {
    if (loop.products > 0) return steps;
    const parent = loops[loop.parent];
    // The loop over rows serves only columns that are not a multiple of 8.
    if (!parent && totalOf(loop.stores) > 0) return 0;
    if (!parent) return loops.some((other) => other.parent === index) ? AHEAD : search;
    const around = trips(parent, loop.parent, loops);
    if (totalOf(loop.loads) === 0) return around * search;
    // The copies of a step: first those of the left operand, then those of the right.
    const copies = loops.filter((other) => other.parent === loop.parent && totalOf(other.loads) > 0);
    const right = copies.indexOf(loop) >= copies.length / 2;
    return chunked[right ? 1 : 0] ? 0 : around * CHUNK;
  };
  return trips;
}

/** The two loops of a convolution on sm_90a in which the consumers work: over tiles, and over steps. */
export function hopperLoops({ loops }: CodeFacts): { tile: LoopFacts; step: LoopFacts } {
  const tiles = loops.filter(({ products, stores }) => products > 0 && totalOf(stores) > 0);
  const [tile] = tiles;
  const steps = loops.filter(({ products, parent }) => products > 0 && loops[parent] === tile);
  if (tiles.length !== 1 || steps.length !== 1)
    throw new Error('the loops of conv/hopper.cu are not those over tiles and steps: see bench/gpu/machine_code.ts');
  return { tile, step: steps[0] };
}

/** Facts and occupancy of a planned kernel. */
export function factsOf({ name, module = '', launchGrid }: PlannedNode, { builds, code }: StaticFacts) {
  const build = builds[module]?.sm_90a?.[name];
  const facts = code[module]?.[name];
  if (!build || !facts || !launchGrid)
    throw new Error(`bench/results/kernels-static.json has no machine code of ${name} in ${module}`);
  const [x, y = 1, z = 1] = launchGrid.grid;
  const threads = launchGrid.block[0];
  const shared = build.shared + (launchGrid.shared ?? 0);
  return { facts, blocks: x * y * z, threads, resident: residentBlocks(threads, build.registers, shared) };
}
