/// <reference types="node" preserve="true" />
// The public names of `rectiflow/nn`: modules, the UNet, the optimiser.
export { activate, type Nonlinearity } from './activation.ts';
export { Adam, type AdamOptions, type AdamState, adamStates } from './adam.ts';
export { AttentionBlock } from './blocks/attention.ts';
export { Combine } from './blocks/combine.ts';
export type { BlockContext } from './blocks/context.ts';
export { Downsample, Upsample } from './blocks/resampling.ts';
export { ResidualBlock } from './blocks/residual.ts';
export { FourierEmbedding, noiseScales, sinusoidalEmbedding } from './embedding.ts';
export {
  type ForwardHook,
  type ForwardPreHook,
  registerForwardHook,
  registerForwardPreHook,
} from './hooks.ts';
export { Initializer } from './init.ts';
export { Conv2d, Dropout, GroupNorm, Linear, MLP } from './layers.ts';
export { Module } from './module.ts';
export {
  fromOfficial,
  type HostTensor,
  type OfficialEntry,
  type OfficialLayout,
  officialEntries,
  toOfficial,
} from './official_names.ts';
export type { StepLoss } from './step_loss.ts';
export { UNet } from './unet.ts';
export { ddpmppCifar10, ncsnpp256, type UNetOptions } from './unet_options.ts';
