// Output on standard error while work runs: lines of text and, on a terminal, a progress bar below them.
import { escapeText } from '../text.ts';

const CLEAR_LINE = '\r\x1b[K';

let bar: string | undefined;

/** Writes a line of text above the bar. Control characters, which may come from a file, are escaped. */
export function say(text: string): void {
  if (bar === undefined) process.stderr.write(`${escapeText(text)}\n`);
  else process.stderr.write(`${CLEAR_LINE}${escapeText(text)}\n${fitToTerminal(bar)}`);
}

/** Draws the bar over the present one. */
export function showBar(line: string): void {
  bar = line;
  process.stderr.write(CLEAR_LINE + fitToTerminal(line));
}

/** Ends the bar: later output appears below it. @param line its final text; default: as last drawn */
export function endBar(line = bar): void {
  if (line === undefined) return;
  bar = undefined;
  process.stderr.write(`${CLEAR_LINE}${fitToTerminal(line)}\n`);
}

/** Cuts a line to the width of the terminal. */
function fitToTerminal(line: string): string {
  const { columns } = process.stderr;
  return columns > 0 ? line.slice(0, columns - 1) : line;
}
