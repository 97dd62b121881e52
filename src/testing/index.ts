/// <reference types="node" preserve="true" />
// For tests of functions that are written with the engine: gradients against finite differences, and random inputs.
export {
  type ArrayOptions,
  arrays,
  broadcastableShapes,
  type HostValues,
  type ShapeOptions,
  shapes,
  toTensor,
} from './arbitraries.ts';
export { GradcheckError, type GradcheckOptions, gradcheck } from './gradcheck.ts';
