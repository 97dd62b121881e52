// Escapes untrusted text (names in files, paths, messages of libraries) for display, so that it cannot move the cursor,
// reorder the text next to it, or end a line.

/** Maximum number of characters of a displayed line. */
const LONGEST_LINE = 1000;

// Control characters, line and paragraph separators, marks that change the writing direction, lone surrogates.
const invisible = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\ufeff]/gu;

/**
 * @param text one line, whatever it contains; or several lines
 * @returns the lines with control characters escaped as \xNN or \u{N}, each shortened in its middle to 1,000 characters
 */
export function escapeText(text: string | readonly string[]): string {
  return typeof text === 'string' ? escapeLine(text) : text.map(escapeLine).join('\n');
}

function escapeLine(text: string): string {
  // Cut first: a name may be megabytes long.
  const start = text.length > 2 * LONGEST_LINE ? cutMiddle(text, 2 * LONGEST_LINE) : text;
  return cutMiddle(dropRepeats(start).replace(invisible, escapeCharacter), LONGEST_LINE);
}

/** A name for display, shortened at its end to `longest` characters. */
export function escapeName(text: string, longest = 200): string {
  const line = escapeLine(text);
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}

/** JSON with invisible characters escaped, for terminals as well as for programs. */
export function escapeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(invisible, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function escapeCharacter(character: string): string {
  const code = (character.codePointAt(0) as number).toString(16).padStart(2, '0');
  return code.length === 2 ? `\\x${code}` : `\\u{${code}}`;
}

/** Drops repeats of the previous line: libraries print one line for each row of a damaged image. */
function dropRepeats(text: string): string {
  if (!text.includes('\n')) return text;
  const lines = text.split('\n');
  return lines.filter((line, i) => i === 0 || line !== lines[i - 1]).join('\n');
}

function cutMiddle(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const half = Math.floor((longest - 1) / 2);
  return `${text.slice(0, half)}…${text.slice(text.length - half)}`;
}
