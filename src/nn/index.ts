// Modules, the UNet, the optimiser.
export { Adam, type AdamOptions, type AdamState, adamStates } from './adam.ts';
export { ParameterArena } from './arena.ts';
export { AttentionBlock, ResidualBlock } from './blocks.ts';
export { FourierEmbedding, sinusoidalEmbedding } from './embedding.ts';
export { Initializer } from './init.ts';
export { Conv2d, Dropout, GroupNorm, Linear, MLP } from './layers.ts';
export { Module } from './module.ts';
export { ddpmppCifar10, UNet, type UNetOptions } from './unet.ts';
