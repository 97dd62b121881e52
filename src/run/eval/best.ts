// <eval folder>/best.json: the best snapshot so far, by the Frechet distance of its samples or, without scores, by its
// loss.
import { existsSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { readWhole } from '../../io/file.ts';
import { parseJsonFile, writeJson } from '../../io/json.ts';
import type { Config } from '../config/types.ts';
import type { EvalRow } from './evaluator.ts';

interface Best {
  /** Path relative to the work directory. */
  checkpoint: string;
  /** Number of updates. */
  step: number;
  /** Kind of score, sample count and sampler. Only values with the same score are compared. */
  score: string;
  /** Lower is better. */
  value: number;
}

/**
 * Writes the best of `rows` and of the previous best. The previous one is dropped if it has another kind of score, is
 * among `rows`, or its checkpoint no longer exists.
 * @returns whether any row has a score
 */
export async function keepBest(workdir: string, config: Config, rows: readonly EvalRow[]): Promise<boolean> {
  const path = join(workdir, config.eval.folder, 'best.json');
  const candidates = rows.flatMap((row) => bestOf(row, workdir, config) ?? []);
  if (candidates.length === 0) return false;
  const before = await readBest(path);
  const stands =
    before?.score === candidates[0].score &&
    existsSync(join(workdir, before.checkpoint)) &&
    candidates.every(({ checkpoint }) => checkpoint !== before.checkpoint);
  const best = (stands ? [before, ...candidates] : candidates).reduce((a, b) => (b.value < a.value ? b : a));
  await writeJson(path, best);
  return true;
}

function bestOf(row: EvalRow, workdir: string, { seed }: Config): Best | undefined {
  const { step, scores, samples, loss } = row;
  const checkpoint = relative(workdir, row.checkpoint);
  if (scores && samples) {
    const score = `Frechet distance of ${scores.features} over ${samples.count} samples of ${basename(samples.folder)}`;
    return { checkpoint, step, score, value: scores.frechetDistance };
  }
  if (!loss || !Number.isFinite(loss.loss)) return undefined;
  return { checkpoint, step, score: `loss over ${loss.images} images, seed ${seed}`, value: loss.loss };
}

const MAX_BYTES = 2 ** 20;

/** @returns undefined for a file that is missing or is none */
export async function readBest(path: string): Promise<Best | undefined> {
  if (!existsSync(path)) return undefined;
  try {
    const { checkpoint, step, score, value } = parseJsonFile(await readWhole(path, MAX_BYTES), path) as Partial<Best>;
    if (typeof checkpoint !== 'string' || typeof score !== 'string') return undefined;
    if (!Number.isSafeInteger(step) || !Number.isFinite(value)) return undefined;
    return { checkpoint, score, step: step as number, value: value as number };
  } catch {
    // Truncated or of another program: it will be overwritten.
    return undefined;
  }
}
