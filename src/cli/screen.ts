// What is said on standard error while work goes on: lines of text, and on a terminal the bar of what is running below them.
import { escapeText } from '../text.ts';

const CLEAR_LINE = '\r\x1b[K';

let bar: string | undefined;

/** Writes a line of text, above the bar; what it may quote from a file cannot move the cursor. */
export function say(text: string): void {
  if (bar === undefined) process.stderr.write(`${escapeText(text)}\n`);
  else process.stderr.write(`${CLEAR_LINE}${escapeText(text)}\n${fitted(bar)}`);
}

/** Draws the bar in place of the one on the screen. */
export function showBar(line: string): void {
  bar = line;
  process.stderr.write(CLEAR_LINE + fitted(line));
}

/** Leaves the bar as it stands; what follows is below it. @param line how it stands; default: as it was drawn last */
export function endBar(line = bar): void {
  if (line === undefined) return;
  bar = undefined;
  process.stderr.write(`${CLEAR_LINE}${fitted(line)}\n`);
}

/** As much of a line as the terminal shows without a second row. */
function fitted(line: string): string {
  const { columns } = process.stderr;
  return columns > 0 ? line.slice(0, columns - 1) : line;
}
