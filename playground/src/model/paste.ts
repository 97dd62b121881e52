// Points that the reader pastes, as text.
import { EXTENT, MOST_POINTS } from './settings.ts';

/** Letters of a pasted list that are read: far more than a cloud holds. */
const LONGEST = 20_000_000;

export interface Pasted {
  points: Float32Array;
  /** What the reader should know of them, such as that only a part is used. */
  note?: string;
}

/**
 * Reads a list of points, two numbers in a line, with commas, semicolons, tabs or spaces between them. One line of names may come first.
 * Points that do not fit into the plane are scaled and moved until they do.
 * @throws Error with a sentence for the reader
 */
export function readPoints(text: string): Pasted {
  if (text.length > LONGEST) throw new Error('This list is longer than 20 MB. Paste a part of it.');
  const lines = text.split(/\r?\n/);
  const values: number[] = [];
  let found = 0;
  for (const [number, line] of lines.entries()) {
    const words = line
      .trim()
      .split(/[\s,;]+/)
      .filter((word) => word !== '');
    if (words.length === 0 || line.trimStart().startsWith('#')) continue;
    const [x, y] = words.map(Number);
    if (words.length !== 2 || !Number.isFinite(x) || !Number.isFinite(y)) {
      // A first line without numbers holds names.
      if (found === 0 && words.every((word) => !Number.isFinite(Number(word)))) {
        found = -1;
        continue;
      }
      const quoted = line.trim().slice(0, 40);
      throw new Error(`Line ${number + 1} should hold two numbers, x and y, but it reads "${quoted}".`);
    }
    found = Math.max(found, 0) + 1;
    values.push(x, y);
  }
  const count = values.length / 2;
  if (count < 2) throw new Error('Paste at least two points, one in a line, such as "1.5, -2".');
  const notes: string[] = [];
  let kept = values;
  if (count > MOST_POINTS) {
    kept = [];
    for (let i = 0; i < MOST_POINTS; i++) {
      const from = 2 * Math.floor((i * count) / MOST_POINTS);
      kept.push(values[from], values[from + 1]);
    }
    notes.push(
      `The list has ${count.toLocaleString('en')} points; ${MOST_POINTS.toLocaleString('en')} of them, evenly spaced, are used.`,
    );
  }
  const points = Float32Array.from(fitted(kept, notes));
  return { points, note: notes.length > 0 ? notes.join(' ') : undefined };
}

/** Points outside of the plane are moved and scaled into its middle. */
function fitted(values: number[], notes: string[]): number[] {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < values.length; i += 2) {
    left = Math.min(left, values[i]);
    right = Math.max(right, values[i]);
    low = Math.min(low, values[i + 1]);
    high = Math.max(high, values[i + 1]);
  }
  if (left >= -EXTENT && right <= EXTENT && low >= -EXTENT && high <= EXTENT) return values;
  const scale = (1.6 * EXTENT) / Math.max(right - left, high - low, Number.MIN_VALUE);
  const finite = Number.isFinite(scale) ? scale : 1;
  const middle = [(left + right) / 2, (low + high) / 2];
  notes.push(`The points were outside of the plane, so they are moved and scaled by ${Number(finite.toPrecision(3))}.`);
  return values.map((value, i) => (value - middle[i % 2]) * finite);
}
