// Scores of samples: Frechet distance, kernel distance, Inception score, precision and recall, in float64 on the host.
import { join } from 'node:path';
import { checkArguments, kind, kinds } from '../../arguments.ts';
import { checkStatistics } from '../../eval/gaussian.ts';
import {
  frechetDistance,
  gaussianOf,
  inceptionScore,
  kernelDistance,
  kernelDistanceNeeds,
  precisionRecall,
} from '../../eval/index.ts';
import { writeNpz } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { checkFeatures, type Features } from './features.ts';
import type { FoundStatistics } from './reference_statistics.ts';

/** Precision and recall compare every pair: at most so many vectors of each side. */
const MANIFOLD_ROWS = 10_000;
const NEIGHBOURS = 3;
/** A covariance has none of fewer. */
export const LEAST_SAMPLES = 2;

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
  /** Where the statistics hold the vectors themselves, and the samples are not too few, as for precision and recall. */
  kernelDistance?: { mean: number; standardError: number | undefined };
  precision?: number;
  recall?: number;
}

const statisticsKind = kind('the statistics of dataStatistics()', (value) => {
  return kinds.object.accepts(value) && typeof (value as FoundStatistics).path === 'string';
});

/** @throws ValueError for features that do not go together, or of a single sample */
export function scoreFeatures(name: string, vectors: Features, data: FoundStatistics): Scores {
  checkArguments('scoreFeatures', { name: [name, kinds.text], data: [data, statisticsKind] });
  checkStatistics('scoreFeatures', data.gaussian);
  const { features, logits } = checkFeatures('scoreFeatures', vectors);
  const scores: Scores = {
    features: name,
    samples: features.rows,
    statistics: data.path,
    frechetDistance: frechetDistance(data.gaussian, gaussianOf(features)),
  };
  if (logits) scores.inceptionScore = inceptionScore(logits).mean;
  const real = data.activations && checkFeatures('scoreFeatures', { features: data.activations }).features;
  if (real && Math.min(real.rows, features.rows) >= kernelDistanceNeeds(real, features)) {
    const { mean, standardError } = kernelDistance(real, features);
    scores.kernelDistance = { mean, standardError };
  }
  if (real && Math.min(real.rows, features.rows) > NEIGHBOURS) {
    const first = (rows: Features['features']) => {
      const kept = Math.min(rows.rows, MANIFOLD_ROWS);
      return { ...rows, rows: kept, values: rows.values.subarray(0, kept * rows.columns) };
    };
    Object.assign(scores, precisionRecall(first(real), first(features), { neighbours: NEIGHBOURS }));
  }
  return scores;
}

/** scores-<features>.json beside the samples: those of other features have a file of their own. */
export function writeScores(folder: string, key: string, scores: Scores): Promise<void> {
  return writeJson(join(folder, `scores-${key}.json`), scores);
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
