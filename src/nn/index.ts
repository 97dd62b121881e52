/// <reference types="node" preserve="true" />
// The public names of `rectiflow/nn`: modules, the UNet, optimisers.
export { accuracy } from './accuracy.ts';
export { activate, type Nonlinearity } from './activation.ts';
export { Adam, type AdamOptions } from './adam.ts';
export { AdamW, type AdamWOptions } from './adamw.ts';
export { AttentionBlock } from './blocks/attention.ts';
export { Combine } from './blocks/combine.ts';
export type { BlockContext } from './blocks/context.ts';
export { Downsample, Upsample } from './blocks/resampling.ts';
export { ResidualBlock } from './blocks/residual.ts';
export { CaptionUNet, type CaptionUNetOptions } from './caption_unet.ts';
export {
  AutoencoderKL,
  type AutoencoderKLOptions,
  type DecodeOptions,
  type LatentDistribution,
  type TileOptions,
} from './diffusers/autoencoder_kl.ts';
export { CLIPTextModel, type CLIPTextOptions, type ClipActivation } from './diffusers/clip_text.ts';
export { UNet2DCondition, type UNet2DConditionOptions } from './diffusers/unet2d_condition.ts';
export { FourierEmbedding, noiseScales, type SinusoidalOptions, sinusoidalEmbedding } from './embedding.ts';
export { Embedding } from './embedding_table.ts';
export {
  type ForwardHook,
  type ForwardPreHook,
  registerForwardHook,
  registerForwardPreHook,
} from './hooks.ts';
export { Initializer } from './init.ts';
export { Conv2d, Dropout, type DropoutState, GroupNorm, type GroupNormLayerOptions, Linear, MLP } from './layers.ts';
export { Lion, type LionOptions } from './lion.ts';
export { Module, type StateDict, type StateValues } from './module.ts';
export { Muon, type MuonOptions } from './muon.ts';
export { BatchNorm, type BatchNormLayerOptions, LayerNorm, type NormOptions, RMSNorm } from './norms.ts';
export {
  fromOfficial,
  type HostTensor,
  type OfficialEntry,
  type OfficialLayout,
  officialEntries,
  toOfficial,
} from './official_names.ts';
export type { Optimizer, OptimizerOptions, OptimizerState } from './optimizer.ts';
export type { GroupMembers, GroupOptions, ParameterGroup } from './parameter_groups.ts';
export {
  constantSchedule,
  cosineSchedule,
  type DecayOptions,
  linearSchedule,
  type Schedule,
  type StepOptions,
  stepSchedule,
  type WarmupOptions,
} from './schedules.ts';
export { type Layer, Sequential } from './sequential.ts';
export { SGD, type SGDOptions } from './sgd.ts';
export type { StepLoss } from './step_loss.ts';
export {
  type AttendOptions,
  type LayerDropoutOptions,
  MultiHeadAttention,
  TransformerBlock,
  type TransformerBlockOptions,
} from './transformer.ts';
export { UNet } from './unet.ts';
export { ddpmppCifar10, ncsnpp256, type UNetOptions } from './unet_options.ts';
