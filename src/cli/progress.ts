// Progress on standard error, with the time left: a bar on a terminal, a plain line every few seconds elsewhere. Results go to
// standard output.
import { createRequire } from 'node:module';
import type * as CliProgress from 'cli-progress';
import { describeDuration } from '../run/index.ts';
import { type Bar, endBar, showBar } from './screen.ts';

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
      format: `${title} {bar} {value}/{total}  {duration_formatted}{left}  {text}`,
      barCompleteChar: '#',
      barIncompleteChar: '.',
      barsize: 30,
      hideCursor: true,
      stream: process.stderr,
      // The work blocks the event loop: no timer draws the bar, every update does. What was cleared is drawn again.
      synchronousUpdate: true,
      forceRedraw: true,
    },
    Presets.legacy,
  );
  const left = timeLeft(total);
  const shown: Bar = { stop: () => single.stop() };
  return {
    update(done, text) {
      const payload = { text, left: left(done) };
      if (showBar(shown)) single.start(total, done, payload);
      single.update(done, payload);
    },
    stop: () => endBar(shown),
  };
}

function lines(title: string, total: number): Progress {
  const left = timeLeft(total);
  let last = Number.NEGATIVE_INFINITY;
  let printed = -1;
  let latest: [done: number, line: string] | undefined;
  const print = ([done, line]: [number, string]) => {
    if (done === printed) return;
    printed = done;
    last = performance.now();
    process.stderr.write(line);
  };
  return {
    update(done, text) {
      latest = [done, `${title} ${done}/${total}  ${text}${left(done)}\n`];
      if (performance.now() - last >= LINE_EVERY_MS) print(latest);
    },
    stop() {
      if (latest) print(latest);
    },
  };
}

/** ", 40 s left", from what this session has done: a run that goes on does not begin at 0. Nothing before that is known. */
function timeLeft(total: number): (done: number) => string {
  let first: { done: number; time: number } | undefined;
  return (done) => {
    const now = performance.now();
    first ??= { done, time: now };
    if (done <= first.done || done >= total) return '';
    const perStep = (now - first.time) / (done - first.done);
    return `, ${describeDuration((perStep * (total - done)) / 1000)} left`;
  };
}
