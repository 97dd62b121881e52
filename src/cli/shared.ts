// What several commands have in common.
import type { Device } from '../device/device.ts';
import { openDevice } from '../device/open.ts';
import { applyOverrides, type Config, loadConfig, type TrainingStep, type TrainOptions } from '../run/index.ts';
import type { Option, Parsed } from './arguments.ts';
import { type Progress, startProgress } from './progress.ts';

export const deviceOptions: Record<string, Option> = {
  device: { value: 'NAME', help: 'where to compute: cpu (default)' },
  threads: { value: 'N', help: 'CPU threads; default: all that the system grants. Results do not depend on it' },
};

export function deviceOf(parsed: Parsed): Promise<Device> {
  return openDevice(parsed.text('device') ?? 'cpu', { threads: parsed.whole('threads', 1) });
}

export const configHelp = 'a name (see rectiflow doctor) or a .json, .ts or .js file';

/** What the modes of the official program have in common. */
export const runOptions: Record<string, Option> = {
  config: { value: 'CONFIG', help: `${configHelp}; needed` },
  workdir: { value: 'DIR', help: 'folder of the run; needed' },
  eval_folder: { value: 'NAME', help: 'folder of evaluations below it; default eval' },
  'dry-run': { help: 'prints the merged configuration and what would run, and ends' },
  ...deviceOptions,
};

/** The configuration that is named, with the overrides. */
export async function configOf(parsed: Parsed): Promise<Config> {
  const config = applyOverrides(await loadConfig(parsed.required('config')), parsed.overrides);
  const folder = parsed.text('eval_folder');
  return folder === undefined ? config : applyOverrides(config, [{ path: ['eval', 'folder'], text: folder }]);
}

/** For --dry-run. */
export function showPlan(config: Config, what: string): number {
  process.stdout.write(`${JSON.stringify(config, null, 2)}\nwould ${what}\n`);
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

  readonly onStep = ({ step, total, loss, imagesPerSecond }: TrainingStep): void => {
    this.training ??= startProgress('train', total);
    this.training.update(step + 1, `loss ${loss.toFixed(4)}  ${Math.round(imagesPerSecond)} images/s`);
  };

  stop(): void {
    this.training?.stop();
    this.training = undefined;
  }
}
