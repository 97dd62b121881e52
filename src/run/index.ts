/// <reference types="node" preserve="true" />
// Public names of `rectiflow/run`: the functions behind the command line. They print nothing and never end the process.

export type { PairFinding } from '../data/index.ts';
export { estimateChain, type StageEstimate } from './chain/estimate.ts';
export { reportedFlows } from './chain/flows.ts';
export { type ChainOptions, type ChainProgress, type ChainResult, runChain } from './chain/index.ts';
export { type ChainStage, chainStages, type FlowStage, type PairStage } from './chain/stages.ts';
export { type Checkpoint, loadCheckpoint, readCheckpointHeader, saveCheckpoint } from './checkpoints/checkpoint.ts';
export { type Conversion, type ConvertOptions, convert } from './checkpoints/convert.ts';
export { findCheckpoint } from './checkpoints/find.ts';
export type { NotFinite } from './checkpoints/finite.ts';
export {
  type FileSummary,
  inspectFile,
  inspectModel,
  type ModelSummary,
  type TensorLine,
} from './checkpoints/inspect.ts';
export { buildModel, unetOptions } from './checkpoints/model.ts';
export { isOurs, loadModel, openCheckpoint } from './checkpoints/open.ts';
export type { TrainingStep } from './checkpoints/training_step.ts';
export {
  applyOverrides,
  type Config,
  type ConfigFile,
  inertBeside,
  inertNotice,
  loadConfig,
  missingKeys,
  type Override,
  presetNames,
  resolveConfig,
  type Task,
} from './config/index.ts';
export { loadDataset, pixels } from './data.ts';
export { FeatureCollector, type FeatureNetwork, type Features, openFeatures } from './eval/features.ts';
export { type EvalOptions, type EvalProgress, type EvalRow, evaluateSnapshots } from './eval/index.ts';
export {
  buildStatistics,
  dataStatistics,
  type FoundStatistics,
  ownPath as statisticsPath,
  type StatisticsOptions,
} from './eval/reference_statistics.ts';
export { type Scores, scoreFeatures } from './eval/scores.ts';
export { evaluateStraightness, type Straightness, type StraightnessOptions } from './eval/straightness.ts';
export {
  type ClassifierOptions,
  type ClassifierStep,
  requireLabels,
  type TrainedClassifier,
  trainClassifier,
} from './eval/train_classifier.ts';
export { type WatchOptions, watchSnapshots } from './eval/watch.ts';
export { examine, type Finding } from './machine/doctor.ts';
export { describeDuration, megabytes } from './machine/resources.ts';
export { type TuneOptions, tune } from './machine/tune.ts';
export { readTuning, type TuningOrigin, tuningIdentity, useNamedTuning, writeTuning } from './machine/tuning.ts';
export {
  type FlowReport,
  type ReportedFlow,
  type ReportFigures,
  type ReportOptions,
  type ReportProgress,
  reportFlows,
} from './report/index.ts';
export { type PlaneFlow, type PlaneReportOptions, reportPlane } from './report/plane.ts';
export { type ExaminePairsOptions, examinePairs } from './sampling/check_pairs.ts';
export { type GeneratedPairs, type GenerateOptions, generatePairs } from './sampling/generate_pairs.ts';
export { readLatents, sampleWriter } from './sampling/output.ts';
export { type SampledImages, type SampleRequest, sampleFromCheckpoint, sampleModel } from './sampling/sample.ts';
export { type SampleServer, type ServeOptions, serveSamples } from './serve/index.ts';
export type { SampleAnswer } from './serve/sampler.ts';
export { type Evaluation, evaluationLoss } from './training/evaluation.ts';
export { trainingLoop } from './training/loop.ts';
export { ASSUMED_NFE, describePlan, type TrainingPlan } from './training/plan.ts';
export { trainReflow } from './training/reflow.ts';
export type { TrainOptions, TrainResult } from './training/session.ts';
export { train } from './training/train.ts';
export { makeFolder } from './workdir/workdir.ts';
