// Text in columns for a terminal.
import { isTerminal } from './terminal.ts';

const DEFAULT_WIDTH = 100;
/** Narrower columns of text would be hard to read. */
const NARROWEST = 30;

/** Columns of the terminal; 100 if the output is not a terminal. */
export function terminalWidth(): number {
  return process.stdout.columns || DEFAULT_WIDTH;
}

/** Breaks a text between words into lines of at most `width` characters. A longer word has a line of its own. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** Two columns: names, and texts that are wrapped to the terminal. */
export function twoColumns(rows: readonly (readonly [left: string, right: string])[], indent = '  '): string[] {
  const left = Math.max(0, ...rows.map(([name]) => name.length)) + indent.length + 2;
  const width = Math.max(NARROWEST, terminalWidth() - left);
  return rows.flatMap(([name, text]) =>
    wrap(text, width).map((line, i) => `${(i === 0 ? indent + name : '').padEnd(left)}${line}`.trimEnd()),
  );
}

/** A text after its name: in a terminal its further lines are below the first; elsewhere it is one line. */
export function hanging(name: string, text: string): string[] {
  if (!isTerminal(process.stdout)) return [name + text];
  const width = Math.max(NARROWEST, terminalWidth() - name.length);
  return wrap(text, width).map((line, i) => (i === 0 ? name : ' '.repeat(name.length)) + line);
}

/** Columns of the width of their longest entry. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows.reduce<number[]>((all, row) => row.map((cell, i) => Math.max(all[i] ?? 0, cell.length)), []);
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
}
