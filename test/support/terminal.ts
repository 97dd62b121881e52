// Terminals for tests: an output stream that passes for one, a program run in a pseudo-terminal, and what a terminal
// shows of the bytes that it got.
import { spawn } from 'node:child_process';
import { WriteStream } from 'node:tty';

/** The variables that decide what a terminal shows. The machine of a test sets some of them. */
export const terminalVariables = [
  ...['NO_COLOR', 'FORCE_COLOR', 'NODE_DISABLE_COLORS', 'COLORTERM', 'CI', 'TF_BUILD', 'TEAMCITY_VERSION'],
  ...['TERM', 'TERM_PROGRAM', 'TMUX', 'LC_ALL', 'LC_CTYPE', 'LANG'],
];

/** The environment of a program in a terminal that has these of the variables, and no others of them. */
export function terminalEnvironment(values: Record<string, string> = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !terminalVariables.includes(name));
  return { ...Object.fromEntries(kept), ...values };
}

/** Makes a stream of this process pass for a terminal of some columns; its text is collected. */
export function fakeTerminal(stream: NodeJS.WriteStream, columns: number | undefined) {
  const names = ['isTTY', 'columns', 'getColorDepth', 'write'];
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(stream, name)] as const);
  const written: string[] = [];
  const terminal = columns === undefined ? { isTTY: false } : { isTTY: true, columns };
  Object.assign(stream, terminal, {
    getColorDepth: WriteStream.prototype.getColorDepth,
    write: (text: string) => written.push(text) > 0,
  });
  return {
    text: () => written.join(''),
    [Symbol.dispose]() {
      for (const [name, property] of before) {
        if (property) Object.defineProperty(stream, name, property);
        else Reflect.deleteProperty(stream, name);
      }
    },
  };
}

/** Why there are no pseudo-terminals here; undefined if there are. */
export const noTerminals = process.platform === 'linux' ? undefined : 'needs script(1) of util-linux';

/** A shell command in a pseudo-terminal of its own. */
export function runInTerminal(
  command: string,
  { columns, rows, ...options }: { columns: number; rows: number; cwd?: string; env?: NodeJS.ProcessEnv },
) {
  const line = `stty cols ${columns} rows ${rows}; exec ${command}`;
  const child = spawn('script', ['-qefc', line, '/dev/null'], { ...options, stdio: ['pipe', 'pipe', 'inherit'] });
  let text = '';
  let check = () => {};
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
    check();
  });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  return {
    child,
    ended,
    text: () => text,
    /** Types characters, such as \x03 for Ctrl-C. */
    type: (keys: string) => child.stdin.write(keys),
    until: (pattern: RegExp) =>
      new Promise<void>((resolve, reject) => {
        check = () => pattern.test(text) && resolve();
        check();
        ended.then(() => reject(new Error(`ended before ${pattern}: ${text}`)));
      }),
  };
}

const ESCAPE = '\x1b';
/** Colours, and the beginning and end of links. */
const STYLES = new RegExp(`${ESCAPE}\\[[\\d;]*m|${ESCAPE}\\]8;;[^${ESCAPE}]*${ESCAPE}\\\\`, 'g');
const PIECES = new RegExp(`${ESCAPE}\\[K|[\\s\\S]`, 'gu');

/** The text without colours and links. */
export function plain(text: string): string {
  return text.replace(STYLES, '');
}

/**
 * The lines that a terminal shows, scrolled ones included: \r returns to the first column, \x1b[K clears to the end of the
 * line, a line that is longer than the terminal wraps.
 * @throws for any other control character
 */
export function linesOn(columns: number, text: string): string[] {
  const lines: string[][] = [[]];
  let row = 0;
  let column = 0;
  for (const [piece] of plain(text).matchAll(PIECES)) {
    if (piece === '\x1b[K') lines[row].length = column;
    else if (piece === '\r') column = 0;
    else if (piece === '\n') {
      // The driver of a terminal adds the return.
      column = 0;
      row++;
      lines[row] ??= [];
    } else if (/\p{Cc}/u.test(piece)) throw new Error(`a terminal got ${JSON.stringify(piece)}`);
    else {
      if (column === columns) {
        row++;
        lines[row] ??= [];
        column = 0;
      }
      lines[row][column++] = piece;
    }
  }
  return lines.map((line) =>
    Array.from(line, (character) => character ?? ' ')
      .join('')
      .trimEnd(),
  );
}
