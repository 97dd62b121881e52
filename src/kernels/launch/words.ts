// What tables by value are made of: `words` of common.cuh.

/** An address as two words, the lower first. */
export function halvesOf(address: number): [number, number] {
  return [address % 2 ** 32, Math.floor(address / 2 ** 32)];
}

/** An f32 as a word. */
export function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

/** As many words as the table has. */
export function padded(words: readonly number[], length: number): number[] {
  return [...words, ...new Array<number>(length - words.length).fill(0)];
}

/** Those of each launch, where a table holds `most`. */
export function inPieces<Entry>(entries: readonly Entry[], most: number): Entry[][] {
  return Array.from({ length: Math.ceil(entries.length / most) }, (_, i) => entries.slice(i * most, (i + 1) * most));
}
