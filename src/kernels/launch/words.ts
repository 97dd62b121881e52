// The 32-bit words of tables that are passed by value: see `words` in common.cuh.

/** An address as two words, the low word first. */
export function halvesOf(address: number): [number, number] {
  return [address % 2 ** 32, Math.floor(address / 2 ** 32)];
}

/** An f32 as a word. */
export function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

/** An f64 as two words, the low word first. */
export function wordsOfDouble(value: number): [number, number] {
  const [low, high] = new Uint32Array(Float64Array.of(value).buffer);
  return [low, high];
}

/** The words, padded with zeros to the length of the table. */
export function padTo(words: readonly number[], length: number): number[] {
  return [...words, ...new Array<number>(length - words.length).fill(0)];
}

/** The entries of each launch, if a table holds at most `most` of them. */
export function inPieces<Entry>(entries: readonly Entry[], most: number): Entry[][] {
  return Array.from({ length: Math.ceil(entries.length / most) }, (_, i) => entries.slice(i * most, (i + 1) * most));
}
