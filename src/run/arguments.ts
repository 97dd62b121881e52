// Argument kinds that the functions of this folder share. This module imports no npm package, because training on a
// bare machine loads it.
import { kind, kinds, listOf, oneOf } from '../arguments.ts';
import { deviceKind } from '../device/device.ts';
import { CaptionUNet } from '../nn/caption_unet.ts';
import { LatentUNet } from '../nn/latent_unet.ts';
import { UNet } from '../nn/unet.ts';

/** The networks that model.name names. */
export type FlowNetwork = UNet | CaptionUNet | LatentUNet;

export const unetKind = kind('a network of buildModel()', (v) =>
  [UNet, CaptionUNet, LatentUNet].some((type) => v instanceof type),
);

/** Options that most of these functions take. */
export const runOptions = {
  device: deviceKind,
  signal: kinds.signal,
  onNotice: kinds.callback,
  onProgress: kinds.callback,
} as const;

const loggerKind = kind(
  'a logger',
  (value) => kinds.object.accepts(value) && typeof (value as { scalars?: unknown }).scalars === 'function',
);

/** The options of training. */
export const trainingOptions = {
  workdir: kinds.path,
  otherStage: oneOf(['sibling', 'refuse']),
  device: deviceKind,
  signal: kinds.signal,
  onStep: kinds.callback,
  onCompile: kinds.callback,
  onPlan: kinds.callback,
  onNotice: kinds.callback,
  origin: kinds.object,
  loggers: listOf(loggerKind, 'loggers, objects with a method scalars'),
} as const;
