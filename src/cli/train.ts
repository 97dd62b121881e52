import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { asFileError } from '../io/index.ts';
import { describePlan, train } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { configOf, deviceOf, requireKeys, runOptions, showPlan, TrainingDisplay } from './shared.ts';

/** What is said, with the time. Written once the run has its work directory: a run that is refused leaves no trace there. */
class Transcript {
  private readonly path: string;
  private waiting: string[] | undefined = [];

  constructor(path: string) {
    this.path = path;
  }

  add(text: string): void {
    const line = `${new Date().toISOString()} ${text}\n`;
    if (this.waiting) this.waiting.push(line);
    else this.write(line);
  }

  begin(): void {
    const lines = this.waiting ?? [];
    this.waiting = undefined;
    this.write(lines.join(''));
  }

  /** The last line; where it cannot be written, what it says is on the screen. */
  end(text: string): void {
    try {
      this.add(text);
    } catch {}
  }

  private write(text: string): void {
    try {
      appendFileSync(this.path, text);
    } catch (error) {
      throw asFileError(this.path, error);
    }
  }
}

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
    const transcript = new Transcript(join(workdir, 'stdout.txt'));
    const say = (text: string) => {
      display.stop();
      process.stderr.write(`${text}\n`);
      transcript.add(text);
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
            transcript.add(`step ${step + 1}  loss ${loss.toFixed(4)}  ${Math.round(imagesPerSecond)} images/s`);
        },
        onPlan: (plan) => {
          transcript.begin();
          say(describePlan(plan));
        },
        onNotice: (text) => say(`note: ${text}`),
      }).finally(() => display.stop()),
    ).catch((error) => {
      transcript.end(`ended: ${error.message}`);
      throw error;
    });
    const { steps, loss, stopped, checkpoint } = result;
    const mean = Number.isNaN(loss) ? '' : `, mean loss of the last steps (50 at most): ${loss.toFixed(4)}`;
    const summary = `${stopped ? 'stopped' : 'done'} after ${steps} steps${mean}`;
    transcript.begin();
    transcript.end(summary);
    process.stdout.write(`${summary}\n`);
    process.stdout.write(stopped ? `the same command goes on from ${checkpoint}\n` : `checkpoint: ${checkpoint}\n`);
    return 0;
  },
};
