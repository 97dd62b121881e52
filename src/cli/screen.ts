// Output on standard error while work runs: lines of text and, on a terminal, a progress bar below them.
import { escapeText } from '../text.ts';
import { wrap } from './columns.ts';
import { columnsOf, cutLine, isTerminal, type Piece, paintLine } from './terminal.ts';

const CLEAR_LINE = '\r\x1b[K';

type Line = readonly Piece[];

let bar: Line | undefined;

/** Writes a line of text above the bar, in a terminal broken between words. Control characters, which may come from a file, are escaped. */
export function say(text: string): void {
  const line = escapeText(text);
  if (!isTerminal(process.stderr)) sayLine([line]);
  else for (const part of wrap(line, columnsOf(process.stderr))) sayLine([part]);
}

/** The same for text in styles, which must not contain control characters. */
export function sayLine(line: Line): void {
  const text = `${paintLine(line, process.stderr)}\n`;
  if (bar === undefined) process.stderr.write(text);
  else process.stderr.write(`${CLEAR_LINE}${text}${fitted(bar)}`);
}

/** Draws the bar over the present one. */
export function showBar(line: Line): void {
  bar = line;
  process.stderr.write(CLEAR_LINE + fitted(line));
}

/** Ends the bar: later output appears below it. @param line its final text; default: as last drawn */
export function endBar(line = bar): void {
  if (line === undefined) return;
  bar = undefined;
  process.stderr.write(`${CLEAR_LINE}${fitted(line)}\n`);
}

/** The line, cut to the width of the terminal so that it never wraps. */
function fitted(line: Line): string {
  const { columns } = process.stderr;
  return paintLine(columns > 0 ? cutLine(line, columns - 1) : line, process.stderr);
}
