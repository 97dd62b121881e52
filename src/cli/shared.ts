// What several commands have in common.
import { KernelCache } from '../device/cache.ts';
import type { Device } from '../device/device.ts';
import { fromEnvironment, MOST_THREADS } from '../device/environment.ts';
import { openDefaultDevice, openDevice, parseDeviceName } from '../device/open.ts';
import { ConfigError, UsageError } from '../errors.ts';
import {
  applyOverrides,
  type Config,
  findCheckpoint,
  inertBeside,
  inertNotice,
  isOurs,
  loadConfig,
  missingKeys,
  readCheckpointHeader,
  resolveConfig,
  type Task,
  type TrainingStep,
  type TrainOptions,
  useNamedTuning,
} from '../run/index.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Option, Parsed } from './arguments.ts';
import { type Progress, startProgress } from './progress.ts';
import { say } from './screen.ts';

export const deviceOptions: Record<string, Option> = {
  device: {
    value: 'NAME',
    help: 'where to compute; default: the key device of the configuration (cpu)',
    key: 'device',
  },
  threads: {
    value: 'N',
    help: 'threads of cpu and wasm; default: RECTIFLOW_THREADS, or all that the system grants. Results do not depend on it',
  },
};

/** The device of --device, or of the configuration; without C compiler wasm for the latter's cpu, which is said. */
export async function deviceOf(parsed: Parsed, config: Config): Promise<Device> {
  checkDevice(parsed);
  const options = { threads: parsed.whole('threads', 1), precision: config.precision, exact: config.exact };
  const tuning = await useNamedTuning();
  if (tuning !== undefined) note(`convolution algorithms by the table ${tuning}`);
  const cache = fromEnvironment('RECTIFLOW_CACHE');
  const reason = cache === undefined || cache === 'off' ? undefined : new KernelCache().reason;
  if (reason !== undefined) note(`${reason}: kernels are compiled again in every process`);
  const named = parsed.text('device');
  const device = await (named === undefined
    ? openDefaultDevice(config.device, options, note)
    : openDevice(named, options));
  if (device.kind === 'cuda') {
    if (parsed.has('threads')) throw new UsageError('--threads has no effect on the device cuda; leave it out');
    if (parsed.sets('exact')) note('exact has no effect on the device cuda, whose convolutions are direct sums');
  }
  return device;
}

/** Opens nothing. @throws UsageError for a value of --device or --threads that no machine takes */
function checkDevice(parsed: Parsed): void {
  const threads = parsed.whole('threads', 1);
  if (threads !== undefined && threads > MOST_THREADS)
    throw new UsageError(`--threads expects a whole number from 1 to ${MOST_THREADS}, got ${threads}`);
  const name = parsed.text('device');
  if (name !== undefined) parseDeviceName(name);
}

export const configHelp = 'a name (see rectiflow doctor) or a .json, .ts or .js file';

/** What the modes of the official program have in common. */
export const runOptions: Record<string, Option> = {
  config: { value: 'CONFIG', help: `${configHelp}; needed` },
  workdir: { value: 'DIR', help: 'folder of the run; needed' },
  eval_folder: { value: 'NAME', help: 'folder of evaluations below it; default eval', key: 'eval.folder' },
  'dry-run': { help: 'prints the merged configuration and what would run, and ends' },
  ...deviceOptions,
};

export function note(text: string): void {
  say(`note: ${text}`);
}

/** The configuration that is named, with the overrides. @param used as of withOverrides */
export async function configOf(parsed: Parsed, used: readonly string[] = []): Promise<Config> {
  checkDevice(parsed);
  const config = withOverrides(parsed, await loadConfig(parsed.required('config'), note), used);
  const folder = parsed.text('eval_folder');
  return folder === undefined ? config : applyOverrides(config, [{ path: ['eval', 'folder'], text: folder }]);
}

/**
 * A configuration with the overrides of the command line; those without effect are noted.
 * @param used keys that the command uses whatever the others say
 */
export function withOverrides(parsed: Parsed, config: Config, used: readonly string[] = []): Config {
  const merged = applyOverrides(config, parsed.overrides);
  const keys = parsed.overrides.map(({ path }) => path.join('.'));
  const inert = inertNotice(keys);
  if (inert) note(inert);
  const others = [...new Set(keys)].filter((key) => !used.includes(key));
  for (const text of inertBeside(merged, others)) note(text);
  return merged;
}

export const checkpointOption: Option = {
  value: 'FILE',
  help: 'a checkpoint: ours, or a .pth of the official code (then --config says of what network); needed',
};

export const partialOption: Option = { help: 'takes what fits of a checkpoint of another network' };

/** The file that --checkpoint means; printed, since its name may be spelt in several ways. */
export function namedCheckpoint(parsed: Parsed): string {
  const path = findCheckpoint(parsed.required('checkpoint'));
  say(`checkpoint: ${path}`);
  return path;
}

/** The configuration that is named, or the one in the checkpoint, with the overrides. */
export async function configOfCheckpoint(parsed: Parsed, path: string): Promise<Config> {
  const named = parsed.text('config');
  if (named) return withOverrides(parsed, await loadConfig(named, note));
  if (!(await isOurs(path)))
    throw new UsageError(`${path} carries no configuration; add --config NAME for the network it is of`);
  return withOverrides(parsed, await resolveConfig((await readCheckpointHeader(path)).config, path));
}

/** @throws ConfigError naming each flag that the task needs and that is not given */
export function requireKeys(config: Config, task: Task): void {
  const missing = missingKeys(config, task);
  if (missing.length > 0) throw new ConfigError(missing);
}

/** For --dry-run: what would run, and what would have to be added before. */
export function showPlan(config: Config, what: string, task?: Task): number {
  process.stdout.write(`${escapeJson(config, 2)}\nwould ${escapeText(what)}\n`);
  for (const missing of task ? missingKeys(config, task) : []) process.stdout.write(`first ${escapeText(missing)}\n`);
  return 0;
}

/** Shows kernels being compiled and steps being trained. */
export class TrainingDisplay {
  private training: Progress | undefined;
  private compiling: Progress | undefined;

  readonly onCompile: NonNullable<TrainOptions['onCompile']> = ({ done, total, module }) => {
    this.compiling ??= startProgress('compile', total);
    this.compiling.update(done, module);
    if (done === total) this.compiling.stop();
  };

  readonly onStep = (info: Pick<TrainingStep, 'step' | 'total' | 'loss' | 'imagesPerSecond'>): void => {
    const { step, total, loss, imagesPerSecond } = info;
    this.training ??= startProgress('train', total);
    this.training.update(step + 1, `loss ${loss.toFixed(4)}  ${Math.round(imagesPerSecond)} images/s`);
  };

  stop(): void {
    this.training?.stop();
    this.training = undefined;
  }
}
