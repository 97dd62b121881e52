/// <reference types="node" preserve="true" />
// What the command line does, as functions: the public names of `rectiflow/run`. They print nothing and never exit.

export type { PairFinding } from '../data/index.ts';
export { estimateChain, type StageEstimate } from './chain/estimate.ts';
export { type ChainOptions, type ChainProgress, type ChainResult, runChain } from './chain/index.ts';
export { type ChainStage, chainStages, type FlowStage, type PairStage } from './chain/stages.ts';
export { type ExaminePairsOptions, examinePairs } from './check_pairs.ts';
export { type Checkpoint, loadCheckpoint, readCheckpointHeader, saveCheckpoint } from './checkpoint.ts';
export {
  type ClassifierOptions,
  type ClassifierStep,
  requireLabels,
  type TrainedClassifier,
  trainClassifier,
} from './classifier.ts';
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
export { type Conversion, type ConvertOptions, convert } from './convert.ts';
export { loadDataset, pixels } from './data.ts';
export { examine, type Finding } from './doctor.ts';
export { FeatureCollector, type FeatureNetwork, type Features, openFeatures } from './eval/features.ts';
export { type EvalOptions, type EvalProgress, type EvalRow, evaluateSnapshots } from './eval/index.ts';
export { type Evaluation, evaluationLoss } from './eval/loss.ts';
export { type Scores, scoreFeatures } from './eval/scores.ts';
export {
  buildStatistics,
  dataStatistics,
  type FoundStatistics,
  ownPath as statisticsPath,
  type StatisticsOptions,
} from './eval/statistics.ts';
export { evaluateStraightness, type Straightness, type StraightnessOptions } from './eval/straightness.ts';
export { type WatchOptions, watchSnapshots } from './eval/watch.ts';
export { findCheckpoint } from './find_checkpoint.ts';
export type { NotFinite } from './finite.ts';
export { megabytes } from './footprint.ts';
export {
  type FileSummary,
  inspectFile,
  inspectModel,
  type ModelSummary,
  type TensorLine,
} from './inspect.ts';
export { type TrainingStep, trainingLoop } from './loop.ts';
export { buildModel, unetOptions } from './model.ts';
export { isOurs, loadModel, openCheckpoint } from './open_checkpoint.ts';
export { readLatents, sampleWriter } from './output.ts';
export { type GeneratedPairs, type GenerateOptions, generatePairs } from './pairs.ts';
export { ASSUMED_NFE, describeDuration, describePlan, type TrainingPlan } from './plan.ts';
export { trainReflow } from './reflow.ts';
export { reportedFlows } from './report/flows.ts';
export {
  type FlowReport,
  type ReportedFlow,
  type ReportFigures,
  type ReportOptions,
  type ReportProgress,
  reportFlows,
} from './report/index.ts';
export { type PlaneFlow, type PlaneReportOptions, reportPlane } from './report/plane.ts';
export { type SampledImages, type SampleRequest, sampleFromCheckpoint, sampleModel } from './sample.ts';
export { type SampleServer, type ServeOptions, serveSamples } from './serve/index.ts';
export type { SampleAnswer } from './serve/sampler.ts';
export type { TrainOptions, TrainResult } from './session.ts';
export { train } from './train.ts';
export { type TuneOptions, tune } from './tune.ts';
export { readTuning, type TuningOrigin, tuningIdentity, useNamedTuning, writeTuning } from './tuning.ts';
export { makeFolder } from './workdir.ts';
