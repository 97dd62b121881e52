// Scores of samples, in float64 on the host: Frechet distance, kernel distance, Inception score, precision and recall.
import { join } from 'node:path';
import { checkArguments, kind, kinds } from '../../arguments.ts';
import { checkStatistics } from '../../eval/gaussian.ts';
import { frechetDistance, gaussianOf, inceptionScore, kernelDistance, precisionRecall } from '../../eval/index.ts';
import { kernelDistanceNeeds } from '../../eval/scores.ts';
import { writeNpz } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { checkFeatureVectors, type Features } from './feature_network.ts';
import type { FoundStatistics } from './reference_statistics.ts';

/** Most vectors per side for precision and recall, which compare every pair. */
const MANIFOLD_ROWS = 10_000;
const NEIGHBOURS = 3;
/** A covariance needs at least two samples. */
export const LEAST_SAMPLES = 2;

export interface Scores {
  /** Name of the features; scores in different features cannot be compared. */
  features: string;
  samples: number;
  /** The file of the data set's statistics. */
  statistics: string;
  /** Frechet distance: with Inception features, the FID. */
  frechetDistance: number;
  /** Absent if the features have no classes. */
  inceptionScore?: number;
  /** Absent, like precision and recall, if there are too few samples or the statistics lack the feature vectors. */
  kernelDistance?: { mean: number; standardError: number | undefined };
  precision?: number;
  recall?: number;
}

const statisticsKind = kind('the statistics of dataStatistics()', (value) => {
  return kinds.object.accepts(value) && typeof (value as FoundStatistics).path === 'string';
});

/**
 * Computes the scores of samples against the statistics of a data set: Frechet and kernel distance, precision, recall and, with
 * logits, the Inception score.
 * @throws ValueError for features of different widths, or for a single sample
 * @example
 * const device = await openDevice('cpu');
 * const config = await loadConfig('digits', { eval: { features: 'pixels' } });
 * const network = await openFeatures(config, { device });
 * const heldOut = await loadDataset(config, 'heldOut');
 * const pixels = await heldOut.load(Int32Array.from({ length: 397 }, (_, i) => i));
 * const features = await network.extract(pixels, [397, 8, 8, 1]);
 * const scores = scoreFeatures(network.name, features, await dataStatistics(config, network, { device }));
 * scores.frechetDistance; // 0.0972
 */
export function scoreFeatures(name: string, vectors: Features, data: FoundStatistics): Scores {
  checkArguments('scoreFeatures', { name: [name, kinds.text], data: [data, statisticsKind] });
  checkStatistics('scoreFeatures', data.gaussian);
  const { features, logits } = checkFeatureVectors('scoreFeatures', vectors);
  const scores: Scores = {
    features: name,
    samples: features.rows,
    statistics: data.path,
    frechetDistance: frechetDistance(data.gaussian, gaussianOf(features)),
  };
  if (logits) scores.inceptionScore = inceptionScore(logits).mean;
  const real = data.activations && checkFeatureVectors('scoreFeatures', { features: data.activations }).features;
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

/** Writes scores-<features>.json next to the samples, one file per kind of features. */
export function writeScores(folder: string, key: string, scores: Scores): Promise<void> {
  return writeJson(join(folder, `scores-${key}.json`), scores);
}

/** Writes report_<k>.npz of the official code: IS (-1 if not available), fid, kid. */
export function writeOfficialReport(path: string, scores: Scores): Promise<void> {
  const scalar = (value: number) => ({ shape: [], dtype: 'f64' as const, data: Float64Array.of(value) });
  return writeNpz(path, {
    IS: scalar(scores.inceptionScore ?? -1),
    fid: scalar(scores.frechetDistance),
    kid: scalar(scores.kernelDistance?.mean ?? Number.NaN),
  });
}
