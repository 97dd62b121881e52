// What a figure in a paper needs besides a plot: its size in millimetres, and the type of print.
import { lightTheme, type Theme } from './theme.ts';

const POINTS = { mm: 72 / 25.4, cm: 72 / 2.54, in: 72, pt: 1, px: 72 / 96 } as const;

/** Points (1/72 inch) of a length such as 84mm, 3.3in, 240pt or 320px; undefined for other text. */
export function parseLength(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,6}(?:\.\d{1,6})?)(mm|cm|in|pt|px)$/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * POINTS[unit as keyof typeof POINTS];
}

/** The theme of a figure whose unit is a point. @param fontSize in points */
export function paperTheme(fontSize: number): Theme {
  return { ...lightTheme, font: 'Helvetica, Arial, "Liberation Sans", sans-serif', fontSize };
}
