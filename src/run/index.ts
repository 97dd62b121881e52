/// <reference types="node" preserve="true" />
// Public names of `rectiflow/run`: training, sampling and evaluation by configuration. These functions print nothing and never
// end the process.
export type { PairFinding } from '../data/pairs/check.ts';
export { estimateChain, type StageEstimate } from './chain/estimate.ts';
export { reportedFlows } from './chain/flows.ts';
export { type ChainOptions, type ChainProgress, type ChainResult, runChain } from './chain/index.ts';
export {
  type Checkpoint,
  loadCheckpoint,
  type Moments,
  readCheckpointHeader,
  saveCheckpoint,
} from './checkpoints/checkpoint.ts';
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
export { buildModel } from './checkpoints/model.ts';
export { loadModel } from './checkpoints/open.ts';
export type { TrainingStep } from './checkpoints/training_step.ts';
export {
  type Config,
  type ConfigFile,
  type ConfigOverrides,
  loadConfig,
  presetNames,
  resolveConfig,
} from './config/index.ts';
export { loadDataset } from './data.ts';
export {
  type EvaluateStraightnessOptions,
  evaluateStraightness,
  type Straightness,
} from './eval/evaluate_straightness.ts';
export { FeatureCollector, type FeatureNetwork, type Features, openFeatures } from './eval/feature_network.ts';
export { type EvalOptions, type EvalProgress, type EvalRow, evaluateSnapshots } from './eval/index.ts';
export { dataStatistics, type FoundStatistics, type StatisticsOptions } from './eval/reference_statistics.ts';
export { type Scores, scoreFeatures } from './eval/score_features.ts';
export {
  type ClassifierOptions,
  type ClassifierStep,
  type TrainedClassifier,
  trainClassifier,
} from './eval/train_classifier.ts';
export { type WatchOptions, watchSnapshots } from './eval/watch.ts';
export type { LoggerSession, RunLogger, SessionEnd } from './loggers/index.ts';
export { examine, type Finding } from './machine/doctor.ts';
export { useTuningFile } from './machine/tuning.ts';
export { openRanks, type Ranks } from './ranks/ranks.ts';
export {
  type FlowReport,
  type ReportedFlow,
  type ReportFigures,
  type ReportOptions,
  type ReportProgress,
  reportFlows,
} from './report/index.ts';
export { type PlaneFlow, type PlaneReportOptions, reportPlane } from './report/plane.ts';
export { type CompareOptions, compareRuns } from './runs/compare.ts';
export { listRuns, type RunSummary } from './runs/list.ts';
export type { ChangedKey, Comparison, RunFacts } from './runs/read.ts';
export { type ExaminePairsOptions, examinePairs } from './sampling/check_pairs.ts';
export { type GeneratedPairs, type GenerateOptions, generatePairs } from './sampling/generate_pairs.ts';
export { readLatents, sampleWriter } from './sampling/output.ts';
export { Pipeline, type PipelineOptions, type PipelineRequest, type PipelineSamples } from './sampling/pipeline.ts';
export { type SampledImages, type SampleRequest, sampleFromCheckpoint, sampleModel } from './sampling/sample.ts';
export { type SampleServer, type ServeOptions, serveSamples } from './serve/index.ts';
export type { SampleAnswer } from './serve/sampler.ts';
export { type ServeTextToImageOptions, serveTextToImage } from './serve/text.ts';
export {
  type EstimateTextToImageOptions,
  estimateTextToImage,
  type TextToImageEstimate,
  type TextToImageStage,
} from './text/estimate.ts';
export type { PartName } from './text/folder.ts';
export type { TextToImageOptions, TextToImageProgress } from './text/generate_options.ts';
export { type LoadTextToImageOptions, loadTextToImage } from './text/load.ts';
export type { Configurations } from './text/networks.ts';
export { type SaveTextToImageOptions, saveTextToImage } from './text/save.ts';
export {
  type InspectTextToImageOptions,
  inspectTextToImage,
  type NetworkOptions,
  type TextToImagePart,
  type TextToImageSummary,
} from './text/survey.ts';
export { type Pictures, type Prediction, type TextConditions, TextToImage } from './text/text_to_image.ts';
export { ClipTokenizer, loadTokenizer, type TokenizerOptions, type Tokens } from './text/tokenizer.ts';
export { torchRandn } from './text/torch_noise.ts';
export { type Evaluation, evaluationLoss } from './training/evaluation.ts';
export type { TrainingPlan } from './training/plan.ts';
export { trainReflow } from './training/reflow.ts';
export type { TrainOptions, TrainResult } from './training/session.ts';
export { train } from './training/train.ts';
export type { RunOrigin, SessionRecord } from './workdir/record.ts';
