// Rectified Flow: the public names of `rectiflow/flow`.
export { interpolate, rectifiedFlowLoss, TIME_EPSILON, uniformTimes } from './loss.ts';
export { type FixedSolver, fixedSolvers, type Solution, type SolveOptions, solveFixed, solveRk45 } from './solvers.ts';
export { microBatched, networkVelocity, TIME_SCALE, type Velocity } from './velocity.ts';
