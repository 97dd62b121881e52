/// <reference types="node" preserve="true" />
// The public names of `rectiflow/eval`: feature networks, and scores of samples.
export {
  Classifier,
  type ClassifierImages,
  type ClassScores,
  loadClassifier,
  type StoredClassifier,
  saveClassifier,
} from './classifier.ts';
export { type ExtractOptions, extractFeatures, type FeatureExtractor } from './extract.ts';
export type { FeatureRows } from './features.ts';
export { frechetDistance } from './frechet_distance.ts';
export { GaussianAccumulator, type GaussianStatistics, gaussianOf } from './gaussian.ts';
export { FidInception, type InceptionFeatures, inceptionState } from './inception.ts';
export { type EigenSolver, findEigenSolver, lapackEigenSolver, ownEigenSolver } from './lapack.ts';
export { Lpips, type LpipsOptions, vgg16State } from './lpips.ts';
export { type PrecisionRecall, precisionRecall } from './precision_recall.ts';
export {
  type InceptionScore,
  inceptionScore,
  type KernelDistance,
  kernelDistance,
} from './scores.ts';
export { type DataStatistics, readStatistics, writeActivations, writeStatistics } from './statistics.ts';
export { readStateArrays, type StateArrays } from './weights.ts';
