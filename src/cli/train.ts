import { train } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { configOf, deviceOf, runOptions, showPlan, TrainingDisplay } from './shared.ts';

export const trainCommand: Command = {
  name: 'train',
  summary: 'train a 1-rectified flow, going on from what the work directory holds',
  overrides: true,
  options: runOptions,
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const config = await configOf(parsed);
    if (parsed.has('dry-run')) return showPlan(config, `train ${config.training.n_iters} steps in ${workdir}`);
    const device = await deviceOf(parsed);
    const display = new TrainingDisplay();
    const { onStep, onCompile, onNotice } = display;
    const result = await interruptible((signal) =>
      train(config, { workdir, device, signal, onStep, onCompile, onNotice }).finally(() => display.stop()),
    );
    const { steps, loss, stopped, checkpoint } = result;
    const mean = Number.isNaN(loss) ? '' : `, mean loss of the last 50: ${loss.toFixed(4)}`;
    process.stdout.write(`${stopped ? 'stopped' : 'done'} after ${steps} steps${mean}\n`);
    process.stdout.write(stopped ? `the same command goes on from ${checkpoint}\n` : `checkpoint: ${checkpoint}\n`);
    return 0;
  },
};
