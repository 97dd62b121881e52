// What the command line does, as functions: the public names of `rectiflow/run`. They print nothing and never exit.
export { type Checkpoint, loadCheckpoint, saveCheckpoint } from './checkpoint.ts';
export {
  applyOverrides,
  type Config,
  type ConfigFile,
  loadConfig,
  type Override,
  presetNames,
  resolveConfig,
} from './config/index.ts';
export { loadDataset, pixels } from './data.ts';
export { examine, type Finding } from './doctor.ts';
export { type EvalOptions, type EvalRow, evaluateSnapshots } from './eval.ts';
export { type Evaluation, evaluationLoss } from './evaluate.ts';
export { type TrainingStep, trainingLoop } from './loop.ts';
export { buildModel, unetOptions } from './model.ts';
export { readLatents, sampleWriter } from './output.ts';
export { describeDuration, describePlan, type TrainingPlan } from './plan.ts';
export { type QuickstartOptions, type QuickstartResult, quickstart } from './quickstart.ts';
export { type SampledImages, type SampleRequest, sampleFromCheckpoint, sampleModel } from './sample.ts';
export { type TrainOptions, type TrainResult, train } from './train.ts';
export { makeFolder } from './workdir.ts';
