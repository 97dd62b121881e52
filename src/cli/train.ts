import { applyOverrides, loadConfig, train } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { configHelp, deviceOf, deviceOptions, TrainingDisplay } from './shared.ts';

export const trainCommand: Command = {
  name: 'train',
  summary: 'train a 1-rectified flow',
  overrides: true,
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; needed` },
    workdir: { value: 'DIR', help: 'folder of checkpoints and log; needed' },
    ...deviceOptions,
  },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const config = applyOverrides(await loadConfig(parsed.required('config')), parsed.overrides);
    const device = await deviceOf(parsed);
    const display = new TrainingDisplay();
    const { onStep, onCompile } = display;
    const result = await interruptible((signal) =>
      train(config, { workdir, device, signal, onStep, onCompile }).finally(() => display.stop()),
    );
    const state = result.stopped ? 'stopped' : 'done';
    process.stdout.write(
      `${state} after ${result.steps} steps, mean loss of the last ${Math.min(50, result.steps)}: ${result.loss.toFixed(4)}\n`,
    );
    process.stdout.write(`checkpoint: ${result.checkpoint}\n`);
    return 0;
  },
};
