// Progress with the estimated time left, on standard error: a bar on a terminal, otherwise a line every few seconds.
// Results go to standard output.
import { describeDuration } from '../run/machine/resources.ts';
import { endBar, showBar } from './screen.ts';

export interface Progress {
  /** Reports that `done` of the total is complete. @param text figures to show after the time */
  update(done: number, text: string): void;
  stop(): void;
}

const LINE_EVERY_MS = 5000;

export function startProgress(title: string, total: number): Progress {
  return process.stderr.isTTY ? bar(title, total) : lines(title, total);
}

const BAR = 30;
/**
 * Least milliseconds between two drawings. Updates draw the bar, not a timer, because the work blocks the event loop.
 */
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

/** "40 s left", from the speed of this session: a resumed run does not start at 0. Empty until the speed is known. */
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
