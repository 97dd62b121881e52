// Options and helpers that several commands share.
import { join } from 'node:path';
import { KernelCache } from '../device/cache.ts';
import { type Device, deviceNames, nearestDevice } from '../device/device.ts';
import { fromEnvironment, MOST_THREADS } from '../device/environment.ts';
import { threadsInLaunch } from '../device/launch.ts';
import { openDevice } from '../device/open.ts';
import { openDefaultDevice } from '../device/open_default.ts';
import { ConfigError, UsageError } from '../errors.ts';
import { isFolder } from '../io/file.ts';
import { readCheckpointHeader } from '../run/checkpoints/checkpoint.ts';
import { findCheckpoint } from '../run/checkpoints/find.ts';
import { isOurs } from '../run/checkpoints/open.ts';
import type { TrainingStep } from '../run/checkpoints/training_step.ts';
import { loadConfig, resolveConfig } from '../run/config/index.ts';
import { describeInertKeys } from '../run/config/inert.ts';
import { describeInert } from '../run/config/official_flags.ts';
import { applyOverrides } from '../run/config/overrides.ts';
import { missingKeys, type Task } from '../run/config/requirements.ts';
import type { Config } from '../run/config/schema.ts';
import { useNamedTuning } from '../run/machine/tuning.ts';
import { checkpointOfFolder } from '../run/runs/checkpoint.ts';
import type { TrainOptions } from '../run/training/session.ts';
import { folderName, namedFolder, newFolder, RUNS, removeUnused } from '../run/workdir/new_folder.ts';
import type { RunOrigin } from '../run/workdir/record.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Option, Parsed } from './arguments.ts';
import { type Progress, startProgress } from './progress.ts';
import { say } from './screen.ts';

export const deviceOptions: Record<string, Option> = {
  device: {
    value: 'NAME',
    help: 'device to compute on; default: the key device of the configuration (cpu)',
    key: 'device',
  },
  threads: {
    value: 'N',
    help: 'threads of cpu and wasm; default: RECTIFLOW_THREADS, or all that are available. Does not affect results',
  },
};

/**
 * Opens --device, or the device of the configuration; if that is cpu and there is no C compiler, wasm, with a notice.
 */
export async function deviceOf(
  parsed: Parsed,
  config: Pick<Config, 'device' | 'precision' | 'exact'>,
): Promise<Device> {
  checkDevice(parsed);
  const options = {
    threads: parsed.whole('threads', 1) ?? threadsInLaunch(),
    precision: config.precision,
    exact: config.exact,
  };
  const tuning = await useNamedTuning();
  if (tuning !== undefined) note(`convolution algorithms are chosen by the table ${tuning}`);
  const cache = fromEnvironment('RECTIFLOW_CACHE');
  const reason = cache === undefined || cache === 'off' ? undefined : new KernelCache().reason;
  if (reason !== undefined) note(`${reason}: every process compiles the kernels again`);
  const named = parsed.text('device');
  const device = await (named === undefined
    ? openDefaultDevice(config.device, options, note)
    : openDevice(named, options));
  if (device.kind === 'cuda') {
    if (parsed.has('threads')) throw new UsageError('--threads has no effect on the device cuda; leave it out');
    if (parsed.sets('exact'))
      note('exact has no effect on the device cuda, which always computes convolutions directly');
  }
  return device;
}

/**
 * Checks --device and --threads without opening a device.
 * @throws UsageError for a value that is invalid on any machine
 */
export function checkDevice(parsed: Parsed): void {
  parsed.whole('threads', 1, MOST_THREADS);
  const name = parsed.text('device');
  if (name === undefined || deviceNames.test(name)) return;
  const near = nearestDevice(name);
  throw new UsageError(
    `--device expects cpu, wasm, cuda or cuda:N, got "${name}"${near === undefined ? '' : `; did you mean ${near}?`}`,
  );
}

export const configHelp = 'name of a configuration (see rectiflow config list), or a .json, .ts or .js file';

const nameOption: Option = {
  value: 'NAME',
  help: `name of the run, whose folder is ${RUNS}/NAME; in place of --workdir`,
};

/** Options that the modes of the official program share. */
export const workOptions: Record<string, Option> = {
  config: { value: 'CONFIG', help: configHelp, required: true },
  workdir: { value: 'DIR', help: 'folder of the run', required: true },
  eval_folder: { value: 'NAME', help: 'subfolder for evaluations; default eval', key: 'eval.folder' },
  'dry-run': { help: 'print the merged configuration and what would run, then exit' },
  ...deviceOptions,
};

/** Options of the modes that begin a run. */
export const runOptions: Record<string, Option> = {
  ...workOptions,
  workdir: { value: 'DIR', help: `folder of the run; default: a new one, ${RUNS}/CONFIG-DATE` },
  name: nameOption,
};

/** Where a run works. */
export interface RunFolder {
  /** For a new folder, the name that it would have now. */
  path: string;
  /** Runs `work` in the folder, which is created if it is a new one, and removed if `work` fails before it writes there. */
  within<T>(work: (workdir: string) => Promise<T>): Promise<T>;
  /** What to say of a run that was stopped: how to resume it. */
  again: string;
}

/** The folder of --workdir or --name, or a new one. @throws UsageError for both */
export function runFolder(parsed: Parsed): RunFolder {
  const [given, name] = [parsed.text('workdir'), parsed.text('name')];
  if (given !== undefined && name !== undefined)
    throw new UsageError('--workdir and --name name two folders; give one');
  const path = name === undefined ? given : namedFolder(name);
  if (path !== undefined) return { path, within: (work) => work(path), again: 'run the same command again' };
  const config = parsed.required('config');
  const folder: RunFolder = {
    path: join(RUNS, folderName(config, new Date())),
    again: '',
    within: async (work) => {
      const made = newFolder(config);
      folder.again = `run it with --workdir ${made}`;
      say(`folder: ${made}`);
      try {
        return await work(made);
      } catch (error) {
        removeUnused(made);
        throw error;
      }
    },
  };
  return folder;
}

/** How this command was started, for the record of a run. */
export function originOf(parsed: Parsed): RunOrigin {
  return { config: parsed.text('config'), command: ['rectiflow', ...process.argv.slice(2)] };
}

export function note(text: string): void {
  say(`note: ${text}`);
}

/** The configuration of --config, with the overrides. @param used see withOverrides */
export async function configOf(parsed: Parsed, used: readonly string[] = []): Promise<Config> {
  checkDevice(parsed);
  const config = withOverrides(parsed, await loadConfig(parsed.required('config'), {}, note), used);
  const folder = parsed.text('eval_folder');
  return folder === undefined ? config : applyOverrides(config, [{ path: ['eval', 'folder'], text: folder }]);
}

/**
 * Applies the overrides of the command line to a configuration, with a notice for those without effect.
 * @param used keys that the command reads whatever the values of other keys
 */
export function withOverrides(parsed: Parsed, config: Config, used: readonly string[] = []): Config {
  const merged = applyOverrides(config, parsed.overrides);
  const keys = parsed.overrides.map(({ path }) => path.join('.'));
  const inert = describeInert(keys);
  if (inert) note(inert);
  const others = [...new Set(keys)].filter((key) => !used.includes(key));
  for (const text of describeInertKeys(merged, others)) note(text);
  return merged;
}

export const checkpointOption: Option = {
  value: 'FILE',
  help: 'a checkpoint; the folder of a run or a chain, for its newest; or a .pth of the official code with --config',
  required: true,
};

export const bestOption: Option = { help: 'with the folder of a run: the snapshot that its evaluations found best' };

export const partialOption: Option = { help: 'load the tensors that fit from a checkpoint of another network' };

/** The file of --checkpoint. Its path is printed, because a checkpoint is found under several spellings. */
export async function namedCheckpoint(parsed: Parsed): Promise<string> {
  const reference = parsed.required('checkpoint');
  const folder = isFolder(reference);
  if (parsed.has('best') && !folder) throw new UsageError('--best needs the folder of a run as --checkpoint');
  const path = folder ? await checkpointOfFolder(reference, parsed.has('best')) : findCheckpoint(reference);
  say(`checkpoint: ${path}`);
  return path;
}

/** The configuration of --config, or else the one in the checkpoint, with the overrides. */
export async function configOfCheckpoint(parsed: Parsed, path: string): Promise<Config> {
  const named = parsed.text('config');
  if (named) return withOverrides(parsed, await loadConfig(named, {}, note));
  if (!(await isOurs(path)))
    throw new UsageError(
      `${path} is not a checkpoint of rectiflow, which holds its configuration; for one of the official code, add --config NAME`,
    );
  return withOverrides(parsed, await resolveConfig((await readCheckpointHeader(path)).config, path));
}

/** @throws ConfigError naming each flag that the task requires and the command line lacks */
export function requireKeys(config: Config, task: Task): void {
  const missing = missingKeys(config, task);
  if (missing.length > 0) throw new ConfigError(missing);
}

/** Prints what would run and which flags are still missing, for --dry-run. */
export function showPlan(config: Config, what: string, task?: Task): number {
  process.stdout.write(`${escapeJson(config, 2)}\nwould ${escapeText(what)}\n`);
  for (const missing of task ? missingKeys(config, task) : []) process.stdout.write(`first ${escapeText(missing)}\n`);
  return 0;
}

/** Shows the progress of compiling kernels and of training steps. */
export class TrainingDisplay {
  private training: Progress | undefined;
  private compiling: Progress | undefined;
  private readonly overall: (() => string) | undefined;

  /** @param overall text on the whole work that the training is a part of */
  constructor(overall?: () => string) {
    this.overall = overall;
  }

  /** Whether a step has been shown since the last stop. */
  get active(): boolean {
    return this.training !== undefined;
  }

  readonly onCompile: NonNullable<TrainOptions['onCompile']> = ({ done, total, module }) => {
    this.compiling ??= startProgress('compile', total);
    this.compiling.update(done, module);
    if (done === total) this.compiling.stop();
  };

  readonly onStep = (info: Pick<TrainingStep, 'step' | 'total' | 'loss' | 'imagesPerSecond'>): void => {
    const { step, total, loss, imagesPerSecond } = info;
    this.training ??= startProgress('train', total, this.overall);
    this.training.update(step + 1, `loss ${loss.toFixed(4)}  ${Math.round(imagesPerSecond)} images/s`);
  };

  stop(): void {
    this.training?.stop();
    this.training = undefined;
  }
}
