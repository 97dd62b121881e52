/// <reference types="node" preserve="true" />
// Flows in the plane: the public names of `rectiflow/plane`. Everything here runs in browsers too.
export { type CouplingName, couplings, type PlanePairs } from './couplings.ts';
export {
  type PathOptions,
  type PlaneFlow,
  type PlanePaths,
  type PlaneSolver,
  planeSolvers,
  type SampledPathOptions,
} from './flows.ts';
export { type InterpolantName, interpolantNames, type SamplerName, samplerNames } from './interpolants.ts';
export { type CouplingFigures, ERROR_STEPS, type FlowFigures } from './measure.ts';
export { type PlaneProgress, PlaneSession, type SessionFlow } from './session.ts';
export {
  type CheckedSettings,
  type PlaneSettings,
  planeSettings,
  type VelocityKind,
  velocityKinds,
} from './settings.ts';
export {
  drawPlane,
  type GivenPoints,
  type PlaneDraw,
  type PlaneEnd,
  type PlaneSetName,
  type PlaneSource,
  planeEnds,
  planeSetNames,
} from './sources.ts';
