/// <reference types="node" preserve="true" />
// Rectified Flow: the public names of `rectiflow/flow`.
export {
  type Assignment,
  type Crossings,
  countCrossings,
  optimalAssignment,
  type TransportCostOptions,
  transportCost,
} from './assignment.ts';
export { Draw, type DrawnBy, type DrawSource, type NoiseOptions, type TimeOptions } from './draw.ts';
export { energyDistance } from './energy_distance.ts';
export { type FeatureMap, featureDistance, featureErrors } from './feature_loss.ts';
export { type ConditionedVelocity, type GuidanceOptions, guided } from './guided.ts';
export {
  type KernelForm,
  type KernelOptions,
  type KernelVelocity,
  kernelVelocity,
  type PointPairs,
} from './kernel_velocity.ts';
export { LIKELIHOOD_EPSILON, type Likelihood, type LikelihoodOptions, likelihood } from './likelihood.ts';
export { type Distance, interpolate, type LossOptions, pseudoHuber, pseudoHubers, rectifiedFlowLoss } from './loss.ts';
export { noisePredictionVelocity, stableDiffusionBetas } from './noise_prediction.ts';
export { type PathStatistics, pathStatistics } from './path_statistics.ts';
export {
  encode,
  type FlowSample,
  initialNoise,
  type SampleOptions,
  type SolverName,
  sample,
  solve,
  solverNames,
  type TransportOptions,
} from './sample.ts';
export {
  evaluationsAStep,
  type FixedOptions,
  type FixedSolver,
  fixedSolvers,
  type Rk45Options,
  type Solution,
  type SolveOptions,
  solveFixed,
  solveRk45,
} from './solvers.ts';
export { type SdeDrift, type StochasticOptions, sdeDrifts, solveStochastic } from './stochastic.ts';
export { straightness } from './straightness.ts';
export { scheduledTimes, type TimeSchedule } from './time_schedule.ts';
export { TIME_EPSILON, type TimeLaw, timeLaws } from './times.ts';
export { type Trajectory, trajectory } from './trajectory.ts';
export { networkVelocity, replayable, TIME_SCALE, type Velocity, withMicroBatches } from './velocity.ts';
