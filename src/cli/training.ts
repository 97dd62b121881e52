// What the commands that train have in common: progress on the screen, a transcript in the work directory, a summary.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { asFileError } from '../io/index.ts';
import { type Config, describePlan, megabytes, type TrainOptions, type TrainResult } from '../run/index.ts';
import { interruptible } from './interrupt.ts';
import { TrainingDisplay } from './shared.ts';

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

/** Runs `work` until it is done or interrupted. @returns the exit code */
export async function runTraining(
  config: Config,
  workdir: string,
  work: (
    options: Pick<TrainOptions, 'signal' | 'onStep' | 'onCompile' | 'onPlan' | 'onNotice'>,
  ) => Promise<TrainResult>,
): Promise<number> {
  const display = new TrainingDisplay();
  const transcript = new Transcript(join(workdir, 'stdout.txt'));
  const say = (text: string) => {
    display.stop();
    process.stderr.write(`${text}\n`);
    transcript.add(text);
  };
  const result = await interruptible((signal) =>
    work({
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
  const peak = `peak memory: ${megabytes(result.peakMemory)} in tensors, ${megabytes(1024 * process.resourceUsage().maxRSS)} of the process`;
  transcript.end(`${summary}\n${peak}`);
  process.stdout.write(`${summary}\n${peak}\n`);
  process.stdout.write(stopped ? `the same command goes on from ${checkpoint}\n` : `checkpoint: ${checkpoint}\n`);
  return 0;
}
