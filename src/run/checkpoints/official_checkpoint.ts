// Checkpoints of the official code (utils.py save_checkpoint): {optimizer, model, ema, step}
//   model      state dict, names "module.all_modules.<i>...." and the buffer "module.sigmas", f64
//   ema        {decay, num_updates, shadow_params}: a list without names, the trainable parameters in their order
//   optimizer  Adam's state by the number of the parameter in that order, trainable or not
import { isWhole } from '../../arguments.ts';
import { FileError, formatShape } from '../../errors.ts';
import {
  type ArrayDtype,
  type ArrayFile,
  Float,
  OrderedDict,
  type TorchInput,
  type TorchValue,
  Tuple,
  toFloat32,
} from '../../io/index.ts';
import { noiseScales } from '../../nn/embedding.ts';
import type { StateValues } from '../../nn/module.ts';
import { compareState, describeMismatch } from '../../nn/module.ts';
import { fromOfficial, type OfficialEntry, officialEntries, toOfficial } from '../../nn/official_names.ts';
import { UNet } from '../../nn/unet.ts';
import type { FlowNetwork } from '../arguments.ts';
import type { Config } from '../config/types.ts';
import type { Checkpoint } from './checkpoint.ts';
import { findState } from './wrappers.ts';

const WRAPPER = 'module.';
const SIGMAS = 'sigmas';
const weightDtypes: readonly ArrayDtype[] = ['f32', 'f64', 'f16', 'bf16'];

type Dict = Map<string | number, TorchValue>;

export interface OfficialOptions {
  /** Loads only the tensors that fit; by default any mismatch is an error. */
  partial?: boolean;
  /** Reports a file found under another spelling, tensors skipped by `partial`, and step counts that disagree. */
  onNotice?: (text: string) => void;
}

/** @throws FileError for a network that the official code does not have */
function requireOfficial(path: string, model: FlowNetwork): asserts model is UNet {
  if (!(model instanceof UNet))
    throw new FileError(path, 'needs model.name ncsnpp: the official code has no network with captions');
}

/**
 * Converts an official checkpoint, or a bare state dict, to the names and layouts of this package.
 * @param model a network of the checkpoint's architecture
 * @throws FileError listing the tensors that are missing, unknown or of another shape
 */
export function fromOfficialCheckpoint(
  path: string,
  root: TorchValue,
  model: FlowNetwork,
  options: OfficialOptions = {},
): Checkpoint {
  requireOfficial(path, model);
  const entries = officialEntries(model);
  const found = findState(path, root, new Set(entries.map(({ official }) => official)));
  for (const text of found.said) options.onNotice?.(`${path}: ${text}`);
  const trainer = root as Dict;
  const weights = modelValues(path, found.weights, entries, options);
  const step = stepOf(path, trainer);
  const average = trainer.get('ema');
  const ema = found.average
    ? { values: namedAverage(path, found.average, entries, weights, options), decay: undefined }
    : average instanceof Map && average.has('shadow_params')
      ? averageOf(path, average, entries, weights, options)
      : undefined;
  const sigmas = found.weights.get(SIGMAS);
  const updates = average instanceof Map ? average.get('num_updates') : undefined;
  if (typeof updates === 'number' && updates !== step)
    options.onNotice?.(`${path}: its average counts ${updates} updates and the run ${step}; the run's count is used`);
  const optimizer = trainer.get('optimizer');
  return {
    path,
    config: undefined,
    step,
    model: weights,
    ema: ema?.values ?? weights,
    emaDecay: ema?.decay,
    sigmas: sigmas?.data instanceof Float64Array ? sigmas.data : undefined,
    moments: optimizer instanceof Map ? adamMoments(path, optimizer, entries, model, options.onNotice) : undefined,
  };
}

/** The step count of the official code, or else that of Lightning. */
function stepOf(path: string, trainer: Dict): number {
  if (trainer.has('step')) return wholeNumber(path, 'step', trainer.get('step') ?? 0);
  return trainer.has('global_step') ? wholeNumber(path, 'global_step', trainer.get('global_step') ?? 0) : 0;
}

function modelValues(
  path: string,
  state: ReadonlyMap<string, ArrayFile>,
  entries: readonly OfficialEntry[],
  options: OfficialOptions,
): StateValues {
  const found = new Map(state);
  found.delete(SIGMAS);
  const own = new Map(entries.map((entry) => [entry.official, entry]));
  const mismatch = describeMismatch(compareState(own, found));
  if (mismatch.length > 0 && !options.partial) throw new FileError(path, ['does not fit this model:', ...mismatch]);
  if (mismatch.length > 0) options.onNotice?.(fitsInPart(path, mismatch));
  const values: StateValues = new Map();
  for (const entry of entries) {
    const array = found.get(entry.official);
    if (!array || formatShape(array.shape) !== formatShape(entry.shape)) continue;
    if (!weightDtypes.includes(array.dtype))
      throw new FileError(path, `"${entry.official}" is of ${array.dtype}, expected ${weightDtypes.join(', ')}`);
    values.set(entry.path, toOurs(entry, array));
  }
  return values;
}

/** An average with names. Constants, and with `partial` tensors that do not fit, are taken from the weights. */
function namedAverage(
  path: string,
  average: ReadonlyMap<string, ArrayFile>,
  entries: readonly OfficialEntry[],
  weights: StateValues,
  options: OfficialOptions,
): StateValues {
  const averaged = entries.filter((entry) => entry.trainable || average.has(entry.official));
  return new Map([...weights, ...modelValues(path, average, averaged, options)]);
}

/** A one-line notice that lists what does not fit. */
export function fitsInPart(path: string, mismatch: readonly string[]): string {
  return `${path} fits only in part: ${mismatch.map((line) => line.trim()).join('; ')}`;
}

/**
 * The average of a checkpoint. With `partial`, undefined if it does not fit: a list without names cannot be matched in
 * part.
 */
function averageOf(
  path: string,
  average: Dict,
  entries: readonly OfficialEntry[],
  model: StateValues,
  { partial, onNotice }: OfficialOptions,
) {
  try {
    return emaValues(path, average, entries, model);
  } catch (error) {
    if (!partial || !(error instanceof FileError)) throw error;
    onNotice?.(`${error.message}; using its raw weights in place of the average`);
    return undefined;
  }
}

/** Matches the list to the trainable parameters in order. Constants have no average. */
function emaValues(path: string, ema: Dict, entries: readonly OfficialEntry[], model: StateValues) {
  const shadows = ema.get('shadow_params');
  const trainable = entries.filter((entry) => entry.trainable);
  if (!Array.isArray(shadows) || shadows.length !== trainable.length)
    throw new FileError(
      path,
      `has ${Array.isArray(shadows) ? shadows.length : 'no'} averages for the ${trainable.length} trainable parameters`,
    );
  const values: StateValues = new Map(model);
  for (const [i, entry] of trainable.entries())
    values.set(entry.path, toOurs(entry, requireShape(path, `average ${i}`, shadows[i], entry)));
  const decay = ema.get('decay');
  return { values, decay: typeof decay === 'number' ? decay : undefined };
}

/** Adam's moments, zeros for a parameter that never had a gradient; undefined for a file without moments. */
function adamMoments(
  path: string,
  optimizer: Dict,
  entries: readonly OfficialEntry[],
  model: UNet,
  notice: (text: string) => void = () => {},
): Checkpoint['moments'] {
  const state = optimizer.get('state');
  if (!(state instanceof Map)) return undefined;
  const moments = { exp_avg: new Map() as StateValues, exp_avg_sq: new Map() as StateValues };
  const tensors = model.stateDict();
  const without = entries.filter((entry, index) => entry.trainable && !state.has(index));
  if (state.size > 0 && without.length > 0)
    notice(
      `${path}: ${without.length} parameters have no Adam state and start from zeros: ${without[0].official}, ...`,
    );
  if ([...state.values()].some((one) => one instanceof Map && one.has('max_exp_avg_sq')))
    notice(
      `${path}: was trained by AMSGrad; its maxima of second moments are dropped, and training continues with Adam`,
    );
  for (const [index, entry] of entries.entries()) {
    if (!entry.trainable) continue;
    const one = state.get(index);
    if (one !== undefined && !(one instanceof Map))
      throw new FileError(path, `optimizer state ${index} is not a dictionary`);
    for (const kind of ['exp_avg', 'exp_avg_sq'] as const) {
      const { shape, size } = tensors.get(entry.path) as { shape: readonly number[]; size: number };
      const value = one
        ? toOurs(entry, requireShape(path, `optimizer state ${index} ${kind}`, one.get(kind), entry))
        : { shape, data: new Float32Array(size) };
      moments[kind].set(entry.path, value);
    }
  }
  return moments;
}

function requireShape(path: string, what: string, value: TorchValue | undefined, entry: OfficialEntry): ArrayFile {
  if (!isArray(value)) throw new FileError(path, `${what} (${entry.official}) is not a tensor`);
  if (formatShape(value.shape) !== formatShape(entry.shape))
    throw new FileError(
      path,
      `${what} (${entry.official}) is ${formatShape(value.shape)}, expected ${formatShape(entry.shape)}`,
    );
  return value;
}

function toOurs(entry: OfficialEntry, array: ArrayFile): { shape: readonly number[]; data: Float32Array } {
  return fromOfficial(entry.layout, { shape: array.shape, data: toFloat32(array) });
}

function isArray(value: TorchValue | undefined): value is ArrayFile {
  return typeof value === 'object' && value !== null && 'dtype' in value;
}

function wholeNumber(path: string, what: string, value: TorchValue): number {
  const number = isArray(value) && value.data.length === 1 ? Number(value.data[0]) : value;
  if (!isWhole(number)) throw new FileError(path, `its ${what} is not a whole number`);
  return number;
}

/**
 * Converts to the form that the official restore_checkpoint reads.
 * @param model a network of the checkpoint's architecture
 */
export function toOfficialCheckpoint(checkpoint: Checkpoint, model: FlowNetwork, config: Config): TorchInput {
  requireOfficial(checkpoint.path, model);
  const entries = officialEntries(model);
  const tensorOf = (values: StateValues, entry: OfficialEntry): ArrayFile => {
    const value = values.get(entry.path);
    if (!value) throw new FileError(checkpoint.path, `lacks the tensor "${entry.path}"`);
    const { shape, data } = toOfficial(entry.layout, value);
    return { shape: [...shape], dtype: 'f32', data };
  };
  const sigmas = checkpoint.sigmas ?? noiseScales(model.options);
  const state = new OrderedDict<string | number, TorchInput>([
    [`${WRAPPER}${SIGMAS}`, { shape: [sigmas.length], dtype: 'f64', data: sigmas }],
    ...entries.map((entry) => [`${WRAPPER}${entry.official}`, tensorOf(checkpoint.model, entry)] as const),
  ]);
  const trainable = entries.filter((entry) => entry.trainable);
  return new Map<string, TorchInput>([
    ['optimizer', adamState(checkpoint, entries, config, tensorOf)],
    ['model', state],
    [
      'ema',
      new Map<string, TorchInput>([
        ['decay', new Float(checkpoint.emaDecay ?? config.model.ema_rate)],
        ['num_updates', checkpoint.step],
        ['shadow_params', trainable.map((entry) => tensorOf(checkpoint.ema, entry))],
      ]),
    ],
    ['step', checkpoint.step],
  ]);
}

function adamState(
  { moments: { exp_avg, exp_avg_sq } = {}, step }: Checkpoint,
  entries: readonly OfficialEntry[],
  { optim }: Config,
  tensorOf: (values: StateValues, entry: OfficialEntry) => ArrayFile,
): TorchInput {
  const state = new Map<number, TorchInput>();
  // The official code has Adam alone.
  if (optim.optimizer === 'Adam' && exp_avg && exp_avg_sq && step > 0)
    for (const [index, entry] of entries.entries())
      if (entry.trainable)
        state.set(
          index,
          new Map<string, TorchInput>([
            ['step', { shape: [], dtype: 'f32', data: Float32Array.of(step) }],
            ['exp_avg', tensorOf(exp_avg, entry)],
            ['exp_avg_sq', tensorOf(exp_avg_sq, entry)],
          ]),
        );
  // The learning rate of the last update, which the official loop leaves in the optimizer.
  const share = optim.warmup > 0 ? Math.min(Math.max(step - 1, 0) / optim.warmup, 1) : 1;
  const group = new Map<string, TorchInput>([
    ['lr', new Float(optim.lr * share)],
    ['betas', Tuple.of<TorchInput>(new Float(optim.beta1), new Float(optim.beta2))],
    ['eps', new Float(optim.eps)],
    ['weight_decay', new Float(optim.weight_decay)],
    ['amsgrad', false],
    ['maximize', false],
    ['foreach', null],
    ['capturable', false],
    ['differentiable', false],
    ['fused', null],
    ['decoupled_weight_decay', false],
    ['params', entries.map((_, index) => index)],
  ]);
  return new Map<string, TorchInput>([
    ['state', state],
    ['param_groups', [group]],
  ]);
}
