// Colours and type of plots. The series' colours are those of Okabe and Ito (2008), which people with any kind of colour
// vision can tell apart, darkened on white until text in them has a contrast of 4.5.

export interface Theme {
  text: string;
  /** Text of less weight: ticks and units. */
  muted: string;
  grid: string;
  background: string;
  /** Colours of series, used in turn. */
  series: readonly string[];
  font: string;
  /** Size of labels; all distances in a plot are multiples of it. */
  fontSize: number;
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';

/** On white, for pages in light mode and for print. */
export const lightTheme: Theme = {
  text: '#1b1f24',
  muted: '#57606a',
  grid: '#d8dee4',
  background: '#ffffff',
  series: ['#0b5fae', '#b4470b', '#00735a', '#8f3f86', '#d21e5a'],
  font: FONT,
  fontSize: 13,
};

/** On a dark page. */
export const darkTheme: Theme = {
  ...lightTheme,
  text: '#e6edf3',
  muted: '#a3adb8',
  grid: '#343b44',
  background: '#12161c',
  series: ['#6cb6ff', '#ff9d5c', '#3fd0a4', '#e39ad9', '#e3c74a'],
};

const names = ['text', 'muted', 'grid', 'background'] as const;

/** The colours as variables of a page's style sheet, so that one drawing follows the page's mode. */
export const pageTheme: Theme = {
  ...lightTheme,
  ...Object.fromEntries(names.map((name) => [name, `var(--${name})`])),
  series: lightTheme.series.map((_, i) => `var(--series-${i + 1})`),
};

/** Declarations of the variables of pageTheme. */
export function themeVariables(theme: Theme): string {
  return [
    ...names.map((name) => `--${name}: ${theme[name]};`),
    ...theme.series.map((color, i) => `--series-${i + 1}: ${color};`),
  ].join(' ');
}
