// Which tile of C a card of sm_90a is predicted to make a product with, by arithmetic alone; nothing here was measured. A block
// makes a tile of rows x columns at the multiprocessor's share of PEAK; small tiles feed tensor cores less well.
//   time = waves of blocks * 2 rows columns terms / (rate * efficiency) + FIXED + what partial sums move

/** An H200's: bf16 FLOP/s of dense products, bytes/s of copies, multiprocessors. */
export const h200 = { flops: 790e12, bandwidth: 4.3e12, multiprocessors: 132 } as const;
/** Seconds of a launch, of filling a block's stages and of writing its sums. */
const FIXED = 2.4e-6;
/** Terms that a partial sum has at least, and the most partial sums. */
const LEAST_RUN = 512;
const MOST_PARTS = 64;

const tiles = [
  { rows: 64, columns: 64, efficiency: 0.55 },
  { rows: 64, columns: 128, efficiency: 0.75 },
  { rows: 128, columns: 128, efficiency: 0.88 },
  { rows: 128, columns: 192, efficiency: 0.95 },
  { rows: 128, columns: 256, efficiency: 1 },
  { rows: 256, columns: 128, efficiency: 1 },
] as const;

export interface ChosenTile {
  rows: number;
  columns: number;
  /** Partial sums that the terms are cut into. */
  parts: number;
  /** Of the product, predicted. */
  seconds: number;
}

/**
 * The tile with the shortest predicted time for C [rows, columns] of so many terms.
 * @param split whether the terms may be cut, as those of a weight gradient: f32 partial sums are written and read once more
 */
export function chosenTile(rows: number, columns: number, terms: number, split = false): ChosenTile {
  const { flops, bandwidth, multiprocessors } = h200;
  let best: ChosenTile | undefined;
  for (const tile of tiles) {
    const blocks = Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
    const most = split ? Math.max(1, Math.min(MOST_PARTS, Math.floor(terms / LEAST_RUN))) : 1;
    for (let parts = 1; parts <= most; parts++) {
      const waves = Math.ceil((blocks * parts) / multiprocessors);
      const operations = 2 * tile.rows * tile.columns * Math.ceil(terms / parts);
      const products = (waves * operations * multiprocessors) / (flops * tile.efficiency);
      const sums = split ? (8 * parts * rows * columns) / bandwidth : 0;
      const seconds = products + sums + FIXED;
      if (!best || seconds < best.seconds) best = { rows: tile.rows, columns: tile.columns, parts, seconds };
    }
  }
  return best as ChosenTile;
}
