// Progress with the estimated time left, on standard error: a bar on a terminal, otherwise a line every few seconds.
// Results go to standard output.
import { describeDuration } from '../run/machine/resources.ts';
import { endBar, showBar } from './screen.ts';
import { columnsOf, drawsUnicode, isTerminal, type Piece } from './terminal.ts';
import { timeLeft } from './time_left.ts';

export interface Progress {
  /** Reports that `done` of the total is complete. @param text figures to show after the time */
  update(done: number, text: string): void;
  stop(): void;
}

const LINE_EVERY_MS = 5000;

/** @param overall text on the whole work that this is a part of, shown last */
export function startProgress(title: string, total: number, overall?: () => string): Progress {
  return isTerminal(process.stderr) ? bar(title, total, overall) : lines(title, total);
}

const LEAST_BAR = 8;
const MOST_BAR = 30;
/**
 * Least milliseconds between two drawings. Updates draw the bar, not a timer, because the work blocks the event loop.
 */
const DRAW_EVERY_MS = 50;

function bar(title: string, total: number, overall: (() => string) | undefined): Progress {
  const left = timeLeft(total);
  const begin = performance.now();
  let drawn = Number.NEGATIVE_INFINITY;
  let line: Piece[] = [];
  return {
    update(done, text) {
      const seconds = (performance.now() - begin) / 1000;
      const time = [describeDuration(seconds), left(done)].filter(Boolean).join(', ');
      const figuresWith = (last?: string) => [`${done}/${total}`, time, text, last].filter(Boolean).join('  ');
      const roomFor = (figures: string) => columnsOf(process.stderr) - 3 - title.length - figures.length;
      const all = figuresWith(overall?.());
      // The progress of the whole work is left out where it does not fit.
      const figures = roomFor(all) >= LEAST_BAR ? all : figuresWith();
      const width = Math.max(LEAST_BAR, Math.min(MOST_BAR, roomFor(figures)));
      line = [`${title} `, ...track(done / total, width), ` ${figures}`];
      if (performance.now() - drawn < DRAW_EVERY_MS) return;
      drawn = performance.now();
      showBar(line);
    },
    stop() {
      if (line.length > 0) endBar(line);
      line = [];
    },
  };
}

/** The bar itself, `share` of it filled. */
function track(share: number, width: number): Piece[] {
  const filled = Math.round(width * Math.max(0, Math.min(1, share)));
  const [done, rest] = drawsUnicode() ? ['━', '─'] : ['#', '.'];
  return [
    ['cyan', done.repeat(filled)],
    ['dim', rest.repeat(width - filled)],
  ];
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
