// Widths of text, estimated: no browser is at hand where a plot is drawn. The widths are those of DejaVu Sans, wider than
// most other fonts, so that text that fits here fits with any of them.
import { escapeName } from '../../text.ts';

const NARROW = /[ijl.,:;'|!()[\] IftJr"]/;
const WIDE = /[mwMW@%—…<>=+#&~^]/;
const CAPITAL = /[A-Z0-9]/;

/** Width of a line of text, as a multiple of its size if `size` is absent. */
export function textWidth(text: string, size = 1): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width * size;
}

function characterWidth(character: string): number {
  if ((character.codePointAt(0) as number) > 0x2e7f) return 1.05;
  if (NARROW.test(character)) return 0.42;
  if (WIDE.test(character)) return 1;
  return CAPITAL.test(character) ? 0.7 : 0.63;
}

/** A line of text, shortened with an ellipsis to fit a width. Control characters are escaped. */
export function fitText(text: string, size: number, width: number): string {
  const line = escapeName(text);
  if (textWidth(line, size) <= width) return line;
  let kept = '';
  let room = width / size - characterWidth('…');
  for (const character of line) {
    room -= characterWidth(character);
    if (room < 0) break;
    kept += character;
  }
  return `${kept.trimEnd()}…`;
}
