// The public names of the engine. Importing this file loads no package and opens no device.
export { gradients } from './autograd/backward.ts';
export { checkFinite, enableGrad, noGrad } from './autograd/mode.ts';
export { openDevice } from './device/open.ts';
export * from './errors.ts';
export * from './tensor/create.ts';
export { keep, openScope, scope } from './tensor/scope.ts';
export { Tensor } from './tensor/tensor.ts';
