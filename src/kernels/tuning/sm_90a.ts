// What a card of sm_90a is assumed to reach with each tile of conv/hopper.cu, and the tiles that were measured. The assumptions
// are computed from the data sheet of an H200; nothing was measured for them.
import { kind, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { readTable } from './index.ts';

export const hopperTuning = {
  multiprocessors: 132,
  /** Operations of a multiprocessor, a microsecond. */
  rate: 5.98e6,
  /** Bytes a microsecond, of the whole card. */
  bandwidth: 4.3e6,
  /** Microseconds in which a tile's sums are written; the next one's operands come meanwhile. */
  writing: 1.5,
  /**
   * `together`: how many warpgroups share a tile; 1: each has its own, and they take turns. `efficiency`: how much of the
   * multiprocessor's peak a tile reaches: a step of a small one has too few products for its bytes.
   */
  tiles: [
    { rows: 128, columns: 64, together: 2, efficiency: 0.6 },
    { rows: 128, columns: 128, together: 2, efficiency: 0.85 },
    { rows: 128, columns: 128, together: 1, efficiency: 0.85 },
    { rows: 256, columns: 128, together: 2, efficiency: 1 },
    { rows: 128, columns: 256, together: 2, efficiency: 1 },
  ],
} as const;

/** What a sweep on a card found to be fastest: names of tiles, by the convolution's table (keyOf in conv/hopper.ts). */
export interface MeasuredTiles {
  origin?: { card: string; created: string };
  forward: Readonly<Record<string, string>>;
  input: Readonly<Record<string, string>>;
  /** For weight gradients that are computed in one launch, by all their tables: tile, and steps of a partial sum. */
  weight: Readonly<Record<string, { tile: string; run: number }>>;
}

const cut = kind('a tile and a run', (v) => {
  const { tile, run } = v as { tile?: unknown; run?: unknown };
  return kinds.text.accepts(tile) && kinds.count.accepts(run);
});

/** The tiles that a file of `npm run gpu:sweep` holds. @throws FileError naming what is wrong with it */
export function requireMeasuredTiles(path: string, value: unknown): MeasuredTiles {
  for (const [pass, { expected, accepts }] of Object.entries({ forward: kinds.text, input: kinds.text, weight: cut })) {
    const tiles = (value as Record<string, unknown> | null)?.[pass];
    if (!kinds.object.accepts(tiles) || !Object.values(tiles as object).every((tile) => accepts(tile ?? {})))
      throw new FileError(
        path,
        `is not a file of \`npm run gpu:sweep\`: ${pass} does not hold ${expected} for each shape`,
      );
  }
  return value as MeasuredTiles;
}

let read: MeasuredTiles | undefined;

/** The package's measured tiles, of which there are none yet: no card was swept. The file is read once. */
export function measuredTiles(): MeasuredTiles {
  read ??= readTable('sm_90a_measured', requireMeasuredTiles);
  return read;
}
