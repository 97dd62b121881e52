// Checkpoints: safetensors holding the model ("model.<path>"), its EMA ("ema.<path>"), where training is to go on Adam's
// moments ("exp_avg.<path>", "exp_avg_sq.<path>"), and in the metadata the whole configuration, step, package version and
// git revision. What travels in a checkpoint is data and is never run.
import { FileError } from '../errors.ts';
import { type ArrayFile, readSafetensors, writeSafetensors } from '../io/index.ts';
import { type Adam, adamStates } from '../nn/adam.ts';
import type { Module, StateValues } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Config } from './config/schema.ts';
import { provenance } from './provenance.ts';

const FORMAT = 'rectiflow-checkpoint-1';

export interface Checkpoint {
  path: string;
  config: unknown;
  /** Updates done. */
  step: number;
  model: StateValues;
  /** The model with its parameters replaced by their exponential moving average. */
  ema: StateValues;
  /** Absent from a snapshot. */
  moments?: { exp_avg: StateValues; exp_avg_sq: StateValues };
}

/** Writes atomically: the old file stays until the new one is whole on the disk. */
export async function saveCheckpoint(
  path: string,
  state: { model: Module; optimizer: Adam; config: Config; step: number; moments?: boolean },
): Promise<void> {
  const { model, optimizer, moments = false } = state;
  const tensors = new Map<string, ArrayFile>();
  for (const [name, tensor] of model.namedTensors()) tensors.set(`model.${name}`, await toArray(tensor));
  for (const kind of adamStates)
    for (const [name, tensor] of kind === 'ema' || moments ? optimizer.state(kind) : []) {
      tensors.set(`${kind}.${name}`, await toArray(tensor));
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
  const groups: Record<string, StateValues> = {
    model: new Map(),
    ema: new Map(),
    exp_avg: new Map(),
    exp_avg_sq: new Map(),
  };
  for (const [name, array] of tensors) {
    if (!(array.data instanceof Float32Array)) throw new FileError(path, `"${name}" is ${array.dtype}, expected f32`);
    const dot = name.indexOf('.');
    const group = name.slice(0, dot);
    if (!Object.hasOwn(groups, group)) throw new FileError(path, `holds an unknown tensor "${name}"`);
    groups[group].set(name.slice(dot + 1), { shape: array.shape, data: array.data });
  }
  const { model, ema, exp_avg, exp_avg_sq } = groups;
  // Constants (Fourier frequencies) have no average of their own.
  for (const [name, value] of model) if (!ema.has(name)) ema.set(name, value);
  const moments = exp_avg.size > 0 ? { exp_avg, exp_avg_sq } : undefined;
  return { path, config: parseConfig(path, metadata.config), step, model, ema, moments };
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
