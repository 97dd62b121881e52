// Checkpoints: safetensors holding the model ("model.<path>"), its EMA ("ema.<path>"), and in the metadata the whole
// configuration, step, package version and git revision. What travels in a checkpoint is data and is never run.
import { FileError } from '../errors.ts';
import { type ArrayFile, readSafetensors, writeSafetensors } from '../io/index.ts';
import type { Adam } from '../nn/adam.ts';
import type { Module } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Config } from './config/schema.ts';
import { provenance } from './provenance.ts';

const FORMAT = 'rectiflow-checkpoint-1';

export interface Checkpoint {
  path: string;
  config: unknown;
  step: number;
  model: Map<string, { shape: readonly number[]; data: Float32Array }>;
  /** The model with its parameters replaced by their exponential moving average. */
  ema: Map<string, { shape: readonly number[]; data: Float32Array }>;
}

/** Writes atomically: the old file stays until the new one is whole on the disk. */
export async function saveCheckpoint(
  path: string,
  state: { model: Module; optimizer: Adam; config: Config; step: number },
): Promise<void> {
  const tensors = new Map<string, ArrayFile>();
  for (const [name, tensor] of state.model.namedTensors()) tensors.set(`model.${name}`, await toArray(tensor));
  for (const [name, tensor] of state.optimizer.emaParameters()) {
    tensors.set(`ema.${name}`, await toArray(tensor));
    tensor.dispose();
  }
  const metadata = {
    format: FORMAT,
    config: JSON.stringify(state.config),
    step: String(state.step),
    ...provenance(),
  };
  await writeSafetensors(path, tensors, metadata);
}

/** @throws FileError for a file that is missing, damaged or not one of ours */
export async function loadCheckpoint(path: string): Promise<Checkpoint> {
  const { metadata, tensors } = await readSafetensors(path);
  if (metadata.format !== FORMAT)
    throw new FileError(
      path,
      `not a rectiflow checkpoint: its metadata has format ${JSON.stringify(metadata.format ?? null)}`,
    );
  const step = Number(metadata.step);
  if (!Number.isInteger(step) || step < 0) throw new FileError(path, `its step is ${JSON.stringify(metadata.step)}`);
  const model: Checkpoint['model'] = new Map();
  const ema: Checkpoint['ema'] = new Map();
  for (const [name, array] of tensors) {
    if (!(array.data instanceof Float32Array)) throw new FileError(path, `"${name}" is ${array.dtype}, expected f32`);
    const value = { shape: array.shape, data: array.data };
    if (name.startsWith('model.')) model.set(name.slice(6), value);
    else if (name.startsWith('ema.')) ema.set(name.slice(4), value);
    else throw new FileError(path, `holds an unknown tensor "${name}"`);
  }
  // Constants (Fourier frequencies) have no average of their own.
  for (const [name, value] of model) if (!ema.has(name)) ema.set(name, value);
  return { path, config: parseConfig(path, metadata.config), step, model, ema };
}

function parseConfig(path: string, text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch (cause) {
    throw new FileError(path, 'its configuration is not JSON', { cause });
  }
}

async function toArray(tensor: Tensor): Promise<ArrayFile> {
  return { shape: [...tensor.shape], dtype: 'f32', data: (await tensor.data()) as Float32Array };
}
