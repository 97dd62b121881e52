// Text that came from elsewhere (names in files, paths, messages of libraries), made fit to be shown: it cannot move the
// cursor, reorder what stands beside it, or end a line.

/** Characters of a line that is shown. */
const LONGEST_LINE = 1000;

// Control characters, line and paragraph separators, marks that change the direction of writing, halves of pairs.
const unseen = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Cs}\ufeff]/gu;

/**
 * @param text one line, whatever it holds; or several lines, each for itself
 * @returns the lines without control characters, which stand there as \xNN or \u{N}; each shortened in its middle to 1,000
 */
export function shown(text: string | readonly string[]): string {
  return typeof text === 'string' ? shownLine(text) : text.map(shownLine).join('\n');
}

function shownLine(text: string): string {
  // Only what will be seen is worth the work: a name may have megabytes.
  const start = text.length > 2 * LONGEST_LINE ? middleCut(text, 2 * LONGEST_LINE) : text;
  return middleCut(withoutRepeats(start).replace(unseen, escaped), LONGEST_LINE);
}

/** The name of something, shortened to `longest` characters at its end. */
export function shownName(text: string, longest = 200): string {
  const line = shownLine(text);
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line;
}

/** JSON in which no character is unseen: for a terminal as well as for a program. */
export function shownJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replace(unseen, (character) =>
    character === '\n' ? character : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function escaped(character: string): string {
  const code = (character.codePointAt(0) as number).toString(16).padStart(2, '0');
  return code.length === 2 ? `\\x${code}` : `\\u{${code}}`;
}

/** Libraries repeat a line for each row of a damaged image: equal lines in a row count once. */
function withoutRepeats(text: string): string {
  if (!text.includes('\n')) return text;
  const lines = text.split('\n');
  return lines.filter((line, i) => i === 0 || line !== lines[i - 1]).join('\n');
}

function middleCut(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const half = Math.floor((longest - 1) / 2);
  return `${text.slice(0, half)}…${text.slice(text.length - half)}`;
}
