// What a card of sm_90a is taken to do with each tile of conv/hopper.cu. Predicted, of an H200, by arithmetic; nothing was measured.
// `together`: the warpgroups that share a tile, or 1: each has its own, in turns.
// `efficiency`: how much of the multiprocessor's peak a tile reaches: a step of a small one has too few products for its bytes.

export const hopperTuning = {
  multiprocessors: 132,
  /** Operations of a multiprocessor, a microsecond. */
  rate: 5.98e6,
  /** Bytes a microsecond, of the whole card. */
  bandwidth: 4.3e6,
  /** Microseconds in which a tile's sums are written; the next one's operands come meanwhile. */
  writing: 1.5,
  tiles: [
    { rows: 128, columns: 64, together: 2, efficiency: 0.6 },
    { rows: 128, columns: 128, together: 2, efficiency: 0.85 },
    { rows: 128, columns: 128, together: 1, efficiency: 0.85 },
    { rows: 256, columns: 128, together: 2, efficiency: 1 },
    { rows: 128, columns: 256, together: 2, efficiency: 1 },
  ],
} as const;

/** What a sweep on a card found to be fastest: names of tiles, by the convolution's table. */
export interface MeasuredTiles {
  origin?: { card: string; created: string };
  forward: Readonly<Record<string, string>>;
  input: Readonly<Record<string, string>>;
  /** Of weight gradients that are made together, by all their tables: tile, and steps of a partial sum. */
  weight: Readonly<Record<string, { tile: string; run: number }>>;
}
