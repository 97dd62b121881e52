// What a terminal can show: colours, links, characters beyond ASCII, and its size. NO_COLOR and FORCE_COLOR are
// respected by util.styleText; a terminal that calls itself "dumb" is written to like a file.
import { pathToFileURL } from 'node:url';
import { styleText } from 'node:util';

export type Style = Parameters<typeof styleText>[0];

/** Part of a line: text, or a style and its text. */
export type Piece = string | readonly [style: Style, text: string];

type Output = NodeJS.WriteStream & { fd: 1 | 2 };

/** Whether a stream is a terminal whose cursor can be moved. */
export function isTerminal(stream: Output): boolean {
  return stream.isTTY === true && process.env.TERM !== 'dumb';
}

/** The text in a style, where the stream shows colours. */
export function paint(style: Style, text: string, stream: Output = process.stdout): string {
  return styleText(style, text, { stream });
}

/** The pieces as one string, in their styles. */
export function paintLine(pieces: readonly Piece[], stream: Output): string {
  return pieces.map((piece) => (typeof piece === 'string' ? piece : paint(piece[0], piece[1], stream))).join('');
}

/** The first `columns` characters of the pieces. */
export function cutLine(pieces: readonly Piece[], columns: number): Piece[] {
  let left = columns;
  return pieces.map((piece) => {
    const text = (typeof piece === 'string' ? piece : piece[1]).slice(0, Math.max(0, left));
    left -= text.length;
    return typeof piece === 'string' ? text : ([piece[0], text] as const);
  });
}

/** Text that opens a file when it is clicked; plain text where the stream is not a terminal. */
export function fileLink(text: string, path: string, stream: Output = process.stdout): string {
  if (!isTerminal(stream)) return text;
  const { href } = pathToFileURL(path);
  return `\x1b]8;;${href}\x1b\\${text}\x1b]8;;\x1b\\`;
}

/**
 * Whether a terminal draws characters such as ━ and ▀: unless it is the console of Linux, or the locale names another
 * encoding than UTF-8. Many containers name no locale.
 */
export function drawsUnicode(environment = process.env): boolean {
  const { LC_ALL, LC_CTYPE, LANG, TERM } = environment;
  const locale = LC_ALL || LC_CTYPE || LANG;
  return TERM !== 'linux' && (!locale || /utf-?8/i.test(locale));
}

/** Columns of a terminal; 80 if it does not say. */
export function columnsOf(stream: Output): number {
  return stream.columns > 0 ? stream.columns : 80;
}
