// Scores of samples: Frechet distance, kernel distance, Inception score, precision and recall, in float64 on the host.
import { frechetDistance, gaussianOf, inceptionScore, kernelDistance, precisionRecall } from '../../eval/index.ts';
import { writeNpz } from '../../io/index.ts';
import type { Features } from './features.ts';
import type { FoundStatistics } from './statistics.ts';

/** Precision and recall compare every pair: at most so many vectors of each side. */
const MANIFOLD_ROWS = 10_000;

export interface Scores {
  /** What the features are of; scores of different features do not compare. */
  features: string;
  samples: number;
  /** The file of the data set's statistics. */
  statistics: string;
  /** Frechet distance: with Inception features, the FID. */
  frechetDistance: number;
  /** Where the features come with classes. */
  inceptionScore?: number;
  /** Where the statistics hold the vectors themselves. */
  kernelDistance?: { mean: number; standardError: number | undefined };
  precision?: number;
  recall?: number;
}

/** @throws ValueError for features that do not go together */
export function scoreFeatures(name: string, { features, logits }: Features, data: FoundStatistics): Scores {
  const scores: Scores = {
    features: name,
    samples: features.rows,
    statistics: data.path,
    frechetDistance: frechetDistance(data.gaussian, gaussianOf(features)),
  };
  if (logits) scores.inceptionScore = inceptionScore(logits).mean;
  if (data.activations) {
    const { mean, standardError } = kernelDistance(data.activations, features);
    scores.kernelDistance = { mean, standardError };
    const first = (rows: Features['features']) => {
      const kept = Math.min(rows.rows, MANIFOLD_ROWS);
      return { ...rows, rows: kept, values: rows.values.subarray(0, kept * rows.columns) };
    };
    Object.assign(scores, precisionRecall(first(data.activations), first(features)));
  }
  return scores;
}

/** report_<k>.npz of the official code: IS (-1 where there is none), fid, kid. */
export function writeOfficialReport(path: string, scores: Scores): Promise<void> {
  const scalar = (value: number) => ({ shape: [], dtype: 'f64' as const, data: Float64Array.of(value) });
  return writeNpz(path, {
    IS: scalar(scores.inceptionScore ?? -1),
    fid: scalar(scores.frechetDistance),
    kid: scalar(scores.kernelDistance?.mean ?? Number.NaN),
  });
}
