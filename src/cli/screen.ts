// What is said on standard error while work goes on: lines of text, and on a terminal the bar of what is running below them.

export interface Bar {
  /** Leaves it as it stands and gives the cursor back. */
  stop(): void;
}

let shown: Bar | undefined;

/** Writes a line above the bar, whose next update draws it again. */
export function say(text: string): void {
  if (shown) process.stderr.write('\r\x1b[K');
  process.stderr.write(`${text}\n`);
}

/** Makes this the bar on the screen. @returns whether it was not */
export function showBar(bar: Bar): boolean {
  if (shown === bar) return false;
  shown?.stop();
  shown = bar;
  return true;
}

/** Ends the bar, if it is this one. @param bar default: the one on the screen */
export function endBar(bar = shown): void {
  if (!bar || shown !== bar) return;
  shown = undefined;
  bar.stop();
}
