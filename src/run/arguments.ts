// Kinds of arguments that the functions of this folder share.
import { kind, kinds, oneOf } from '../arguments.ts';
import { deviceKind } from '../device/device.ts';
import { UNet } from '../nn/unet.ts';

export const unetKind = kind('a UNet', (v) => v instanceof UNet);

/** What most of them take as options. */
export const runOptions = {
  device: deviceKind,
  signal: kinds.signal,
  onNotice: kinds.callback,
  onProgress: kinds.callback,
} as const;

/** What training takes beside those. */
export const trainingOptions = {
  workdir: kinds.path,
  otherStage: oneOf(['beside', 'refuse']),
  device: deviceKind,
  signal: kinds.signal,
  onStep: kinds.callback,
  onCompile: kinds.callback,
  onPlan: kinds.callback,
  onNotice: kinds.callback,
} as const;
