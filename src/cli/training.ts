// Shared by the commands that train: progress on the screen, a transcript in the work directory, a summary.
import { join } from 'node:path';
import { appendText } from '../io/file.ts';
import type { Config } from '../run/config/schema.ts';
import { megabytes } from '../run/machine/resources.ts';
import { describePlan } from '../run/training/plan.ts';
import type { TrainOptions, TrainResult } from '../run/training/session.ts';
import { escapeText } from '../text.ts';
import { runInterruptible } from './interrupt.ts';
import { say } from './screen.ts';
import { type RunFolder, TrainingDisplay } from './shared.ts';

/**
 * The messages of a run with their times. Nothing is written until the run owns its work directory, so a refused run
 * leaves no file.
 */
class Transcript {
  private path: string | undefined;
  private waiting: string[] = [];

  add(text: string): void {
    this.waiting.push(`${new Date().toISOString()} ${text}\n`);
    this.write();
  }

  /** Starts writing to stdout.txt in this folder, beginning with the messages so far. */
  begin(workdir: string): void {
    this.path = join(workdir, 'stdout.txt');
    this.write();
  }

  /** Writes the last line. Failure to write is ignored, because the screen shows the same text. */
  end(text: string): void {
    try {
      this.add(text);
    } catch {}
  }

  private write(): void {
    if (this.path !== undefined) appendText(this.path, this.waiting.splice(0).join(''));
  }
}

/** Runs `work` until it is done or interrupted. @returns the exit code */
export async function runTraining(
  config: Config,
  folder: RunFolder,
  work: (
    options: Pick<TrainOptions, 'signal' | 'onStep' | 'onCompile' | 'onPlan' | 'onNotice'>,
  ) => Promise<TrainResult>,
): Promise<number> {
  const display = new TrainingDisplay();
  const transcript = new Transcript();
  const tell = (text: string) => {
    say(text);
    transcript.add(escapeText(text));
  };
  const result = await runInterruptible(
    (signal) =>
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
          transcript.begin(plan.workdir);
          tell(describePlan(plan));
        },
        onNotice: (text) => tell(`note: ${text}`),
      }).finally(() => display.stop()),
    { saves: true },
  ).catch((error) => {
    transcript.end(`ended: ${error.message}`);
    throw error;
  });
  const { steps, loss, stopped, checkpoint } = result;
  const mean = Number.isNaN(loss) ? '' : `, mean loss of the last steps (50 at most): ${loss.toFixed(4)}`;
  const summary = `${stopped ? 'stopped' : 'done'} after ${steps} steps (${describeSteps(steps)})${mean}`;
  transcript.begin(result.workdir);
  const peak = `peak memory: ${megabytes(result.peakMemory)} in tensors, ${megabytes(1024 * process.resourceUsage().maxRSS)} of the process`;
  transcript.end(`${summary}\n${peak}`);
  process.stdout.write(`${summary}\n${peak}\n`);
  if (!stopped) process.stdout.write(`checkpoint: ${escapeText(checkpoint)}\n`);
  else if (steps === 0) process.stdout.write(`${escapeText(folder.again)} to start over\n`);
  else process.stdout.write(`${escapeText(folder.again)} to resume from ${escapeText(checkpoint)}\n`);
  return 0;
}

/** The numbers of the completed steps; the first is 0, and training.n_iters is the last of a run. */
function describeSteps(steps: number): string {
  return steps === 0 ? 'none' : `0 to ${steps - 1}`;
}
