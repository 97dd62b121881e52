// Progress on standard error, with the time left: a bar on a terminal, a plain line every few seconds elsewhere. Results go
// to standard output.
import { createRequire } from 'node:module';
import type * as CliProgress from 'cli-progress';
import { describeDuration } from '../run/index.ts';

export interface Progress {
  /** `done` of the total, with a few words on how it goes. */
  update(done: number, text: string): void;
  stop(): void;
}

const LINE_EVERY_MS = 5000;

export function startProgress(title: string, total: number): Progress {
  return process.stderr.isTTY ? bar(title, total) : lines(title, total);
}

function bar(title: string, total: number): Progress {
  // Loaded here: without a terminal it is not needed.
  const { Presets, SingleBar } = createRequire(import.meta.url)('cli-progress') as typeof CliProgress;
  const single = new SingleBar(
    {
      format: `${title} {bar} {value}/{total}  {duration_formatted}, {eta_formatted} left  {text}`,
      barCompleteChar: '#',
      barIncompleteChar: '.',
      barsize: 30,
      hideCursor: true,
      stream: process.stderr,
      // The work blocks the event loop: no timer draws the bar, every update does.
      synchronousUpdate: true,
    },
    Presets.legacy,
  );
  let started = false;
  return {
    update(done, text) {
      // A run that goes on does not begin at 0: the time left is that of the steps of this session.
      if (!started) single.start(total, done - 1, { text });
      started = true;
      single.update(done, { text });
    },
    stop() {
      if (started) single.stop();
    },
  };
}

function lines(title: string, total: number): Progress {
  let first: { done: number; time: number } | undefined;
  let last = Number.NEGATIVE_INFINITY;
  let printed = -1;
  let latest: [number, string] | undefined;
  const print = ([done, text]: [number, string]) => {
    if (done === printed) return;
    printed = done;
    last = performance.now();
    process.stderr.write(`${title} ${done}/${total}  ${text}${timeLeft(done)}\n`);
  };
  // From what this session has done: a run that goes on does not begin at 0.
  const timeLeft = (done: number) => {
    if (!first || done <= first.done || done >= total) return '';
    const perStep = (performance.now() - first.time) / (done - first.done);
    return `  ${describeDuration((perStep * (total - done)) / 1000)} left`;
  };
  return {
    update(done, text) {
      first ??= { done, time: performance.now() };
      latest = [done, text];
      if (performance.now() - last >= LINE_EVERY_MS) print(latest);
    },
    stop() {
      if (latest) print(latest);
    },
  };
}
