import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { describePlan, makeFolder, train } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { configOf, deviceOf, requireKeys, runOptions, showPlan, TrainingDisplay } from './shared.ts';

export const trainCommand: Command = {
  name: 'train',
  summary: 'train a 1-rectified flow, going on from what the work directory holds',
  overrides: true,
  options: runOptions,
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const config = await configOf(parsed);
    if (parsed.has('dry-run'))
      return showPlan(config, `train steps 0 to ${config.training.n_iters} in ${workdir}`, 'train');
    requireKeys(config, 'train');
    const device = await deviceOf(parsed, config);
    const display = new TrainingDisplay();
    const transcript = join(makeFolder(workdir), 'stdout.txt');
    const record = (text: string) => appendFileSync(transcript, `${new Date().toISOString()} ${text}\n`);
    const say = (text: string) => {
      display.stop();
      process.stderr.write(`${text}\n`);
      record(text);
    };
    const result = await interruptible((signal) =>
      train(config, {
        workdir,
        device,
        signal,
        onCompile: display.onCompile,
        onStep: (info) => {
          display.onStep(info);
          const { step, loss, imagesPerSecond } = info;
          if ((step + 1) % config.training.log_freq === 0)
            record(`step ${step + 1}  loss ${loss.toFixed(4)}  ${Math.round(imagesPerSecond)} images/s`);
        },
        onPlan: (plan) => say(describePlan(plan)),
        onNotice: (text) => say(`note: ${text}`),
      }).finally(() => display.stop()),
    ).catch((error) => {
      record(`ended: ${error.message}`);
      throw error;
    });
    const { steps, loss, stopped, checkpoint } = result;
    const mean = Number.isNaN(loss) ? '' : `, mean loss of the last steps (50 at most): ${loss.toFixed(4)}`;
    const summary = `${stopped ? 'stopped' : 'done'} after ${steps} steps${mean}`;
    record(summary);
    process.stdout.write(`${summary}\n`);
    process.stdout.write(stopped ? `the same command goes on from ${checkpoint}\n` : `checkpoint: ${checkpoint}\n`);
    return 0;
  },
};
