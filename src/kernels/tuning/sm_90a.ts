// The assumed performance of each tile of conv/hopper.cu on sm_90a, and the tiles that were measured. The assumptions
// are computed from the data sheet of an H200, not measured.
import { kind, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { readTable } from './index.ts';

export const hopperTuning = {
  multiprocessors: 132,
  /** Operations per microsecond of one multiprocessor. */
  rate: 5.98e6,
  /** Memory bandwidth of the whole GPU, in bytes per microsecond. */
  bandwidth: 4.3e6,
  /** Microseconds to write the sums of a tile; the operands of the next tile are copied meanwhile. */
  writing: 1.5,
  /**
   * `together`: how many warpgroups share a tile; 1: each has its own, and they take turns. `efficiency`: the fraction
   * of peak that a tile reaches, which is lower for small tiles, because a step has few operations per byte.
   */
  tiles: [
    { rows: 128, columns: 64, together: 2, efficiency: 0.6 },
    { rows: 128, columns: 128, together: 2, efficiency: 0.85 },
    { rows: 128, columns: 128, together: 1, efficiency: 0.85 },
    { rows: 256, columns: 128, together: 2, efficiency: 1 },
    { rows: 128, columns: 256, together: 2, efficiency: 1 },
  ],
} as const;

/**
 * The fastest tiles that a sweep on a GPU measured: names of tiles by the table of the convolution (keyOf in
 * conv/hopper.ts).
 */
export interface MeasuredTiles {
  origin?: { card: string; created: string };
  forward: Readonly<Record<string, string>>;
  input: Readonly<Record<string, string>>;
  /** The tile and the steps of a partial sum for the weight gradients of one launch, by the tables of all of them. */
  weight: Readonly<Record<string, { tile: string; run: number }>>;
}

const cut = kind('a tile and a run', (v) => {
  const { tile, run } = v as { tile?: unknown; run?: unknown };
  return kinds.text.accepts(tile) && kinds.count.accepts(run);
});

/** The tiles in a file of `npm run gpu:sweep`. @throws FileError naming what is wrong with it */
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

/** The package's measured tiles. There are none yet, because no sweep was run. The file is read once. */
export function measuredTiles(): MeasuredTiles {
  read ??= readTable('kernels/tuning/sm_90a_measured.json', requireMeasuredTiles);
  return read;
}
