// Batches that the ranks of a job compute in turns: the i-th of them is computed by rank i modulo the number of ranks. The first rank gets
// them in their order, as if it had computed them itself, so that what it writes does not depend on the number of ranks.
import type { Ranks } from './ranks.ts';
import { Watchdog } from './watchdog.ts';

type Numbers = Float32Array | Float64Array | Uint8Array;

/** What was computed of a batch. */
export type BatchArrays = Readonly<Record<string, Numbers>>;

export interface BatchesOptions {
  ranks?: Ranks;
  /** Stops the work. With ranks, all of them stop after a batch each, and one aborted signal is enough. */
  signal?: AbortSignal;
}

/**
 * Computes batches, on all ranks of a job or in this process alone. All ranks call it with the same numbers.
 * @param compute gets no signal in a job: a rank that left its batch would leave the others waiting for it
 * @returns pairs of number and arrays, in the order of `numbers`; nothing on a rank that is not the first
 * @throws the signal's reason when aborted
 */
export async function* computeBatches<T extends BatchArrays>(
  numbers: readonly number[],
  compute: (number: number, signal: AbortSignal | undefined) => Promise<T>,
  { ranks, signal }: BatchesOptions,
): AsyncGenerator<[number: number, arrays: T]> {
  if (!ranks) {
    for (const number of numbers) yield [number, await compute(number, signal)];
    return;
  }
  using watchdog = new Watchdog(ranks.title, 'batch');
  for (let at = 0; at < numbers.length; at += ranks.size) {
    const own = numbers[at + ranks.rank];
    const arrays = own === undefined ? {} : await compute(own, undefined);
    watchdog.begin(own ?? numbers[at]);
    await ranks.meet();
    const stops = ranks.anyAborted(signal);
    const round = collect(ranks, arrays) as T[];
    watchdog.end();
    for (const [i, one] of round.entries()) if (at + i < numbers.length) yield [numbers[at + i], one];
    if (stops) throw signal?.reason ?? new DOMException('another rank was interrupted', 'AbortError');
  }
}

const types = { Float32Array, Float64Array, Uint8Array };

/** Sends arrays to the first rank. @returns those of all ranks, in their order; on another rank none */
function collect(ranks: Ranks, own: BatchArrays): BatchArrays[] {
  const layouts = ranks.gatherTexts(
    JSON.stringify(Object.entries(own).map(([name, array]) => [name, array.constructor.name, array.length])),
  );
  if (!ranks.isFirst) {
    for (const array of Object.values(own)) ranks.mpi.send(0, bytesOf(array));
    return [];
  }
  return layouts.map((text, rank) => {
    if (rank === 0) return own;
    const layout = JSON.parse(text) as [name: string, type: keyof typeof types, length: number][];
    const arrays = layout.map(([name, type, length]) => {
      const array = new types[type](length);
      ranks.mpi.receive(rank, bytesOf(array));
      return [name, array] as const;
    });
    return Object.fromEntries(arrays);
  });
}

function bytesOf({ buffer, byteOffset, byteLength }: Numbers): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
