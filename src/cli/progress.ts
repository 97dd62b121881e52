// Progress on standard error, with the time left: a bar on a terminal, a plain line every few seconds elsewhere. Results go to
// standard output.
import { describeDuration } from '../run/index.ts';
import { endBar, showBar } from './screen.ts';

export interface Progress {
  /** `done` of the total, with a few words on how it goes. */
  update(done: number, text: string): void;
  stop(): void;
}

const LINE_EVERY_MS = 5000;

export function startProgress(title: string, total: number): Progress {
  return process.stderr.isTTY ? bar(title, total) : lines(title, total);
}

const BAR = 30;
/** The work blocks the event loop: no timer draws the bar, updates do, if the last is that long ago. */
const DRAW_EVERY_MS = 50;

function bar(title: string, total: number): Progress {
  const left = timeLeft(total);
  const begin = performance.now();
  let drawn = Number.NEGATIVE_INFINITY;
  let line = '';
  return {
    update(done, text) {
      const filled = Math.round(BAR * Math.min(1, done / total));
      const seconds = (performance.now() - begin) / 1000;
      const time = [describeDuration(seconds), left(done)].filter(Boolean).join(', ');
      line = `${title} ${'#'.repeat(filled).padEnd(BAR, '.')} ${done}/${total}  ${time}  ${text}`;
      if (performance.now() - drawn < DRAW_EVERY_MS) return;
      drawn = performance.now();
      showBar(line);
    },
    stop() {
      if (line !== '') endBar(line);
      line = '';
    },
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
      latest = [done, `${[`${title} ${done}/${total}`, text, left(done)].filter(Boolean).join('  ')}\n`];
      if (performance.now() - last >= LINE_EVERY_MS) print(latest);
    },
    stop() {
      if (latest) print(latest);
    },
  };
}

/** "40 s left", from what this session has done: a run that goes on does not begin at 0. Nothing before that is known. */
function timeLeft(total: number): (done: number) => string {
  let first: { done: number; time: number } | undefined;
  return (done) => {
    const now = performance.now();
    first ??= { done, time: now };
    if (done <= first.done || done >= total) return '';
    const perStep = (now - first.time) / (done - first.done);
    return `${describeDuration((perStep * (total - done)) / 1000)} left`;
  };
}
