// Checkpoints: safetensors files with the model ("model.<path>"), its EMA ("ema.<path>") and, in states to resume from,
// the optimiser's moments ("exp_avg.<path>", "momentum_buffer.<path>", ...). The metadata hold the whole configuration, step, package
// version and git revision. A checkpoint is data; nothing in it is executed.
import { checkArgument, checkOptions, instanceOf, isWhole, kind, kinds, type OptionKinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { type ArrayFile, readSafetensors, readSafetensorsHeader, writeSafetensors } from '../../io/index.ts';
import { parseStrictJson } from '../../io/json.ts';
import { Module, type StateValues } from '../../nn/module.ts';
import {
  type MomentName,
  momentNames,
  type Optimizer,
  type OptimizerState,
  optimizerKind,
} from '../../nn/optimizer.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { NUMERICS, provenance } from '../machine/provenance.ts';
import { tuningIdentity } from '../machine/tuning.ts';
import { refuseNotFinite } from './finite.ts';
import type { RunIdentity } from './identity.ts';
import { momentsOf } from './optimizer.ts';
import type { TrainingStep } from './training_step.ts';

const FORMAT = 'rectiflow-checkpoint-1';
const SIGMAS = 'buffer.sigmas';

/** The moments of an optimiser, by name and parameter. */
export type Moments = Partial<Record<MomentName, StateValues>>;

export interface Checkpoint {
  path: string;
  /** The configuration in the file, not validated; undefined for a file of the official code, which has none. */
  config: unknown;
  /** The run that wrote it; undefined if the file does not say. */
  stage?: RunIdentity;
  /** Number of updates so far. */
  step: number;
  model: StateValues;
  /** The model with its parameters replaced by their exponential moving average. */
  ema: StateValues;
  /** Final decay of that average. */
  emaDecay?: number;
  /** The buffer of noise scales in a file of the official code, kept for conversion back. */
  sigmas?: Float64Array;
  /** For a run on the CPU: what chose its convolution algorithms, see tuningIdentity. */
  tuning?: string;
  /** Version of the arithmetic that its run started with, see NUMERICS; undefined for a file of the official code. */
  numerics?: number;
  /** The last update, if the run was stopped before that update was evaluated and logged. */
  unevaluated?: TrainingStep;
  /** Number of images or pairs in its training set; undefined if the file does not say. */
  items?: number;
  /** The optimiser's moments; absent from a snapshot. */
  moments?: Moments;
}

interface TrainingState {
  model: Module;
  optimizer: Optimizer;
  config: Config;
  stage?: RunIdentity;
  /** Number of updates so far. */
  step: number;
  /** Whether to save the optimiser's moments; default false. */
  moments?: boolean;
  /** Version of the arithmetic that the run started with; default: the present one. */
  numerics?: number;
  /** See Checkpoint. */
  unevaluated?: TrainingStep;
  /** See Checkpoint. */
  items?: number;
}

const stateKinds: OptionKinds<TrainingState> = {
  model: instanceOf(Module, 'a module'),
  optimizer: optimizerKind,
  config: kinds.object,
  stage: kind('{ name, teacher } of strings', (value) => {
    if (!kinds.object.accepts(value)) return false;
    const { name, teacher } = value as RunIdentity;
    return typeof name === 'string' && (teacher === undefined || typeof teacher === 'string');
  }),
  step: kinds.whole,
  moments: kinds.boolean,
  numerics: kinds.count,
  unevaluated: kinds.object,
  items: kinds.whole,
};

/**
 * Writes a checkpoint atomically: the old file stays until the new one is completely on disk.
 * @throws FileError for a file that cannot be written; NonFiniteError if one of its numbers is not finite
 * @example
 * const config = await loadConfig('digits', { model: { nf: 8 } });
 * const model = buildModel(config, await openDevice('cpu'));
 * const optimizer = new Adam(model, { emaRate: 0.999 });
 * await saveCheckpoint('checkpoint_0.safetensors', { model, optimizer, config, step: 0 });
 * (await loadCheckpoint('checkpoint_0.safetensors')).step; // 0
 * optimizer.dispose();
 */
export async function saveCheckpoint(path: string, options: TrainingState): Promise<void> {
  checkArgument('saveCheckpoint', 'path', path, kinds.path);
  const required = ['model', 'optimizer', 'config', 'step'] as const;
  const { model, optimizer, ...state } = checkOptions('saveCheckpoint', options, stateKinds, required);
  requireConfig('saveCheckpoint', state.config);
  const values = async (kind: OptimizerState): Promise<StateValues> => {
    const found: StateValues = new Map();
    for (const [name, tensor] of optimizer.state(kind)) {
      found.set(name, await hostValue(tensor));
      tensor.dispose();
    }
    return found;
  };
  const weights: StateValues = new Map();
  for (const [name, tensor] of model.namedTensors()) weights.set(name, await hostValue(tensor));
  const moments: Moments = {};
  if (state.moments) for (const name of optimizer.states) if (name !== 'ema') moments[name] = await values(name);
  await writeCheckpoint({
    path,
    ...state,
    model: weights,
    ema: await values('ema'),
    emaDecay: optimizer.options.emaRate,
    tuning: tuningIdentity(optimizer.arena.values.device),
    moments: state.moments ? moments : undefined,
  });
}

/**
 * The moments of a checkpoint that training is to resume from.
 * @param config names the optimiser
 * @throws FileError where it lacks moments
 */
export function requireMoments({ path, moments = {} }: Checkpoint, config: Config): Moments {
  const lacks = momentsOf(config).filter((name) => !moments[name]);
  if (lacks.length > 0)
    throw new FileError(
      path,
      `has no ${lacks.join(' and ')} of ${config.optim.optimizer}, so training cannot resume from it`,
    );
  return moments;
}

/** The tensors of a checkpoint by the names that messages use. */
export function checkpointParts({ model, ema, moments }: Checkpoint): Record<string, StateValues | undefined> {
  return {
    weights: model,
    averages: ema,
    'first moments': moments?.exp_avg,
    'second moments': moments?.exp_avg_sq,
    momenta: moments?.momentum_buffer,
  };
}

/** Writes a checkpoint to its `path`. @throws NonFiniteError if one of its numbers is not finite */
export async function writeCheckpoint(checkpoint: Checkpoint): Promise<void> {
  const { path, config, stage, step, emaDecay, sigmas, tuning, numerics = NUMERICS, unevaluated, items } = checkpoint;
  const { model, ema, moments } = checkpoint;
  refuseNotFinite(path, checkpointParts(checkpoint));
  const tensors = new Map<string, ArrayFile>();
  for (const [group, values] of Object.entries({ model, ema, ...moments }))
    for (const [name, { shape, data }] of values)
      tensors.set(`${group}.${name}`, { shape: [...shape], dtype: 'f32', data });
  if (sigmas) tensors.set(SIGMAS, { shape: [sigmas.length], dtype: 'f64', data: sigmas });
  const metadata = {
    format: FORMAT,
    config: JSON.stringify(config),
    step: String(step),
    ...(stage && { stage: stage.name, ...(stage.teacher !== undefined && { teacher: stage.teacher }) }),
    ...(emaDecay !== undefined && { ema_decay: String(emaDecay) }),
    ...(tuning !== undefined && { tuning }),
    numerics: String(numerics),
    ...(unevaluated && { unevaluated: JSON.stringify(unevaluated) }),
    ...(items !== undefined && { items: String(items) }),
    ...provenance(),
  };
  await writeSafetensors(path, tensors, metadata);
}

/** Whether the metadata of a safetensors file mark it as a rectiflow checkpoint. */
export function isCheckpoint(metadata: Readonly<Record<string, string>>): boolean {
  return metadata.format === FORMAT;
}

type CheckpointHeader = Pick<
  Checkpoint,
  'config' | 'stage' | 'step' | 'emaDecay' | 'tuning' | 'numerics' | 'unevaluated' | 'items'
>;

/**
 * Reads the metadata of a checkpoint without its tensors.
 * @throws FileError as loadCheckpoint
 * @example
 * const { step, config } = await readCheckpointHeader('runs/digits/checkpoints/checkpoint_1.safetensors');
 * step; // 5
 * (await resolveConfig(config, 'checkpoint_1')).data.dataset; // 'DIGITS'
 */
export async function readCheckpointHeader(path: string): Promise<CheckpointHeader> {
  checkArgument('readCheckpointHeader', 'path', path, kinds.path);
  return headerOf(path, (await readSafetensorsHeader(path)).metadata);
}

function headerOf(path: string, metadata: Readonly<Record<string, string>>): CheckpointHeader {
  if (!isCheckpoint(metadata))
    throw new FileError(
      path,
      `not a rectiflow checkpoint: its metadata has format ${JSON.stringify(metadata.format ?? null)}`,
    );
  const step = Number(metadata.step || Number.NaN);
  if (!isWhole(step)) throw new FileError(path, `its step is ${JSON.stringify(metadata.step)}`);
  const emaDecay = metadata.ema_decay === undefined ? undefined : Number(metadata.ema_decay);
  if (emaDecay !== undefined && !(emaDecay >= 0 && emaDecay <= 1))
    throw new FileError(path, `its EMA decay is ${JSON.stringify(metadata.ema_decay)}`);
  const numerics = Number(metadata.numerics ?? 1);
  if (!isWhole(numerics, 1)) throw new FileError(path, `its numerics is ${JSON.stringify(metadata.numerics)}`);
  const { stage: name, teacher, tuning } = metadata;
  const stage = name === undefined ? undefined : { name, ...(teacher !== undefined && { teacher }) };
  const unevaluated = unevaluatedOf(path, step, metadata.unevaluated);
  const items = metadata.items === undefined ? undefined : Number(metadata.items);
  if (items !== undefined && !isWhole(items))
    throw new FileError(path, `its number of items is ${JSON.stringify(metadata.items)}`);
  return { config: parseConfig(path, metadata.config), stage, step, emaDecay, tuning, numerics, unevaluated, items };
}

const stepFigures = ['step', 'total', 'loss', 'learningRate', 'gradientNorm', 'imagesPerSecond', 'dataShare'] as const;

/** Parses the figures of the last update. @throws FileError for anything else */
function unevaluatedOf(path: string, step: number, text: string | undefined): TrainingStep | undefined {
  if (text === undefined) return undefined;
  let figures: Record<string, unknown> | null;
  try {
    figures = JSON.parse(text);
  } catch {
    figures = null;
  }
  if (figures?.step !== step - 1 || !stepFigures.every((name) => Number.isFinite(figures?.[name])))
    throw new FileError(path, 'the record of its last step is damaged');
  const known = Object.fromEntries(stepFigures.map((name) => [name, figures?.[name]])) as unknown as TrainingStep;
  const { terms } = figures;
  if (terms === undefined) return known;
  if (typeof terms !== 'object' || terms === null || !Object.values(terms).every(Number.isFinite))
    throw new FileError(path, 'the record of its last step is damaged');
  return { ...known, terms: terms as Record<string, number> };
}

/**
 * Reads a rectiflow checkpoint.
 * @throws FileError for a file that is missing, damaged or of another kind
 * @example
 * const checkpoint = await loadCheckpoint('runs/digits/checkpoints/checkpoint_1.safetensors');
 * checkpoint.step; // 5
 * checkpoint.ema.get('convIn.weight').shape; // [8, 3, 3, 1]
 */
export async function loadCheckpoint(path: string): Promise<Checkpoint> {
  checkArgument('loadCheckpoint', 'path', path, kinds.path);
  const { metadata, tensors } = await readSafetensors(path);
  const header = headerOf(path, metadata);
  const groups: Record<string, StateValues> = Object.fromEntries(
    ['model', 'ema', ...momentNames].map((name) => [name, new Map()]),
  );
  const sigmas = tensors.get(SIGMAS)?.data;
  for (const [name, array] of tensors) {
    if (name === SIGMAS && array.data instanceof Float64Array) continue;
    if (!(array.data instanceof Float32Array)) throw new FileError(path, `"${name}" is ${array.dtype}, expected f32`);
    const dot = name.indexOf('.');
    const group = name.slice(0, dot);
    if (!Object.hasOwn(groups, group)) throw new FileError(path, `holds an unknown tensor "${name}"`);
    groups[group].set(name.slice(dot + 1), { shape: array.shape, data: array.data });
  }
  const { model, ema } = groups;
  // Constants such as Fourier frequencies have no average.
  for (const [name, value] of model) if (!ema.has(name)) ema.set(name, value);
  const found = momentNames.filter((name) => groups[name].size > 0);
  const moments: Moments | undefined =
    found.length > 0 ? Object.fromEntries(found.map((name) => [name, groups[name]])) : undefined;
  return { path, ...header, model, ema, moments, ...(sigmas instanceof Float64Array && { sigmas }) };
}

function parseConfig(path: string, text: string | undefined): unknown {
  try {
    return parseStrictJson(text ?? '');
  } catch (cause) {
    throw new FileError(path, `its configuration is not JSON: ${(cause as Error).message}`, { cause });
  }
}

async function hostValue(tensor: Tensor) {
  return { shape: tensor.shape, data: (await tensor.data()) as Float32Array };
}
