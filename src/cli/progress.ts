// Progress on standard error: a bar on a terminal, a plain line every few seconds elsewhere. Results go to standard output.
import { createRequire } from 'node:module';
import type * as CliProgress from 'cli-progress';

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
  single.start(total, 0, { text: '' });
  return {
    update(done, text) {
      single.update(done, { text });
    },
    stop() {
      single.stop();
    },
  };
}

function lines(title: string, total: number): Progress {
  let last = 0;
  let printed = -1;
  let latest: [number, string] | undefined;
  const print = ([done, text]: [number, string]) => {
    if (done === printed) return;
    printed = done;
    last = performance.now();
    process.stderr.write(`${title} ${done}/${total}  ${text}\n`);
  };
  return {
    update(done, text) {
      latest = [done, text];
      if (performance.now() - last >= LINE_EVERY_MS) print(latest);
    },
    stop() {
      if (latest) print(latest);
    },
  };
}
