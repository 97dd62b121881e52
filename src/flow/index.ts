// Rectified Flow: the public names of `rectiflow/flow`.
export { energyDistance } from './energy_distance.ts';
export { interpolate, type LossOptions, rectifiedFlowLoss, TIME_EPSILON, uniformTimes } from './loss.ts';
export {
  type FlowSample,
  type SampleOptions,
  type SolverName,
  sample,
  solve,
  solverNames,
  straightness,
} from './sample.ts';
export { type FixedSolver, fixedSolvers, type Solution, type SolveOptions, solveFixed, solveRk45 } from './solvers.ts';
export { microBatched, networkVelocity, TIME_SCALE, type Velocity } from './velocity.ts';
