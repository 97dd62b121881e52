// Paths of points in the plane, with equal units on both axes.
import type { Drawing, Point, Shape } from './drawing.ts';
import { fitText } from './text.ts';
import type { Theme } from './theme.ts';

export interface PathPlotOptions {
  theme: Theme;
  title: string;
  /** Points drawn behind the paths, f32 [M, 2]. */
  background: Float32Array;
  /** Half the length of the axes; default: the largest coordinate. Plots to compare need the same. */
  reach?: number;
  /** Width of the plot. */
  size: number;
}

/** The largest coordinate of any point, as far as it is finite; 1 if all are 0. */
export function reachOf(...clouds: readonly Float32Array[]): number {
  let most = 0;
  for (const cloud of clouds)
    for (const value of cloud) if (Number.isFinite(value)) most = Math.max(most, Math.abs(value));
  return most || 1;
}

/** @param points the positions of all paths, [count, 2] each, in order of time */
export function pathPlot(points: readonly Float32Array[], options: PathPlotOptions): Drawing {
  const { theme, title, background, size } = options;
  const em = theme.fontSize;
  const [first, last] = [points[0], points[points.length - 1]];
  const reach = 1.03 * (options.reach ?? reachOf(first, last, background));
  const top = 1.9 * em;
  const at = (values: Float32Array, i: number): Point => [
    ((values[2 * i] / reach + 1) * size) / 2,
    top + ((1 - values[2 * i + 1] / reach) * size) / 2,
  ];
  const cloud = (values: Float32Array) =>
    Array.from({ length: values.length / 2 }, (_, i) => at(values, i)).filter((point) => point.every(Number.isFinite));
  const paths = Array.from({ length: first.length / 2 }, (_, i): Shape => {
    const path = points.map((values) => at(values, i)).filter((point) => point.every(Number.isFinite));
    return { kind: 'line', points: path, color: theme.series[0], width: 0.07 * em, opacity: 0.5 };
  });
  const shapes: Shape[] = [
    {
      kind: 'text',
      text: fitText(title, 1.1 * em, size),
      at: [0, 1.2 * em],
      anchor: 'start',
      size: 1.1 * em,
      color: theme.text,
      bold: true,
    },
    { kind: 'dots', points: cloud(background), radius: 0.1 * em, fill: theme.muted, opacity: 0.4 },
    ...paths,
    { kind: 'dots', points: cloud(first), radius: 0.14 * em, fill: theme.background, stroke: theme.series[0] },
    { kind: 'dots', points: cloud(last), radius: 0.16 * em, fill: theme.series[1] },
  ];
  const description = `${title}. ${first.length / 2} paths in the plane, from their start points to their ends, over ${background.length / 2} data points.`;
  return { width: size, height: size + top, description, font: theme.font, shapes };
}
