// What several commands have in common.
import type { Device } from '../device/device.ts';
import { openDevice } from '../device/open.ts';
import type { TrainingStep, TrainOptions } from '../run/index.ts';
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

  readonly onNotice = (text: string): void => {
    process.stderr.write(`note: ${text}\n`);
  };

  stop(): void {
    this.training?.stop();
    this.training = undefined;
  }
}
