// Line plots: values of several series against one quantity, with reference lines. A series has a colour, a marker and a
// name at the end of its line; a plot that is too narrow for names there lists them above.
import type { Drawing, Marker, Point, Shape } from './drawing.ts';
import { markers } from './drawing.ts';
import { type Axis, axisOver, isDrawable, positionOf, tickLabel, tickValues } from './scale.ts';
import { fitText, textWidth } from './text.ts';
import type { Theme } from './theme.ts';

export interface Series {
  label: string;
  /** Points (x, y), x ascending. Points that cannot be drawn on the axes are left out. */
  points: readonly Point[];
  /** Points off the line, drawn as hollow markers, with what they are: "RK45". */
  extra?: readonly { at: Point; label: string }[];
  /** Where the line has markers: at each point, at a few of them, or nowhere. Default 'all'. */
  markers?: 'all' | 'few' | 'none';
  /** A thin, pale line, as for values before smoothing. */
  pale?: boolean;
  /** Index of colour and marker; default: the place of the series. */
  slot?: number;
}

export interface Reference {
  label: string;
  y: number;
}

export interface LinePlotOptions {
  theme: Theme;
  /** Drawn above the plot; an empty one takes no room. */
  title: string;
  xLabel: string;
  /** The quantity and its unit, and whether more is better; it stands above the axis. */
  yLabel: string;
  logX?: boolean;
  logY?: boolean;
  /** Values with a label on the x axis; default: about five round numbers. */
  xTicks?: readonly number[];
  /** Labels the x axis at whole numbers only, as for steps. */
  wholeX?: boolean;
  /** Horizontal dashed lines. */
  references?: readonly Reference[];
  width: number;
  /** Height without the names above the plot. */
  height: number;
  /** Where the names of series are: at the ends of lines, or above the plot. Default: above below 36 times the font size. */
  names?: 'ends' | 'above';
}

interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
  x: Axis;
  y: Axis;
}

/** The plot; undefined if no point can be drawn. */
export function linePlot(series: readonly Series[], options: LinePlotOptions): Drawing | undefined {
  const { theme, width, logX = false, logY = false, references = [] } = options;
  const em = theme.fontSize;
  const visible = ([x, y]: Point) => isDrawable(x, logX) && isDrawable(y, logY);
  const drawn = series.map((one, i) => ({
    ...one,
    slot: one.slot ?? i,
    points: one.points.filter(visible),
    extra: (one.extra ?? []).filter(({ at }) => visible(at)),
  }));
  const named = references.filter(({ y }) => isDrawable(y, logY));
  const all = drawn.flatMap(({ points, extra }) => [...points, ...extra.map(({ at }) => at)]);
  if (all.length === 0) return undefined;
  const x = axisOver(
    all.map((point) => point[0]),
    logX,
    0.02,
  );
  const y = axisOver([...all.map((point) => point[1]), ...named.map((reference) => reference.y)], logY, 0.06);
  const names = options.names ?? (width < 36 * em ? 'above' : 'ends');
  const entries = [
    ...drawn.filter(({ pale }) => !pale).map((one) => ({ ...one, y: (one.points.at(-1) ?? one.extra[0]?.at)?.[1] })),
    ...named.map((reference) => ({ ...reference, slot: undefined })),
  ].filter((entry) => entry.y !== undefined) as Entry[];
  // A single line needs no name: the title says what it is.
  const several = drawn.filter(({ points, extra }) => points.length + extra.length > 0).length + named.length > 1;
  const above = names === 'above' && several && entries.length > 0 ? legend(entries, theme, width) : undefined;
  const height = Math.ceil(options.height + (above?.height ?? 0));
  const labels = names === 'ends' && several && entries.length > 0 ? longest(entries, theme, width) : 0;
  const ticks = yTicks(y, theme, options.height - 7.3 * em);
  const heading = options.title === '' ? 0.2 * em : 2 * em;
  const area: Area = {
    left: Math.ceil(Math.max(...ticks.map((value) => textWidth(tickLabel(value), em))) + 0.7 * em),
    right: width - Math.ceil(labels > 0 ? labels + 2.2 * em : 1.6 * em),
    top: Math.ceil(heading + 1.9 * em + (above?.height ?? 0)),
    bottom: height - Math.ceil(3.4 * em),
    x,
    y,
  };
  const shapes: Shape[] = [
    label(fitText(options.title, 1.1 * em, width), [0, 1.2 * em], theme.text, { size: 1.1 * em, bold: true }),
    ...(above?.shapes ?? []).map((shape) => moved(shape, heading)),
    label(fitText(options.yLabel, em, width), [0, area.top - 0.8 * em], theme.muted, { size: em }),
    ...ticks.flatMap((value) => horizontal(value, area, theme)),
    ...xTicks(options, area, theme),
    label(
      fitText(options.xLabel, em, area.right - area.left),
      [(area.left + area.right) / 2, height - 0.6 * em],
      theme.muted,
      {
        size: em,
        anchor: 'middle',
      },
    ),
    ...named.map(
      ({ y: value }): Shape => ({
        kind: 'line',
        points: [
          [area.left, placeY(value, area)],
          [area.right, placeY(value, area)],
        ],
        color: theme.text,
        width: 0.1 * em,
        dash: [0.45 * em, 0.35 * em],
      }),
    ),
    ...drawn.flatMap((one) => seriesShapes(one, area, options)),
    ...(labels > 0 ? endLabels(entries, area, theme, labels) : []),
  ];
  return { width, height, description: describe(options, entries), font: theme.font, shapes };
}

interface Entry {
  label: string;
  y: number;
  /** Index of colour and marker; undefined for a reference. */
  slot?: number;
  points?: readonly Point[];
  markers?: Series['markers'];
}

type DrawnSeries = Series & { slot: number; extra: NonNullable<Series['extra']> };

export function colorOf(slot: number, { series }: Theme): string {
  return series[slot % series.length];
}

export function markerOf(slot: number): Marker {
  return markers[slot % markers.length];
}

function placeX(value: number, { left, right, x }: Area): number {
  return left + positionOf(value, x) * (right - left);
}

function placeY(value: number, { top, bottom, y }: Area): number {
  return bottom - positionOf(value, y) * (bottom - top);
}

function label(
  text: string,
  at: Point,
  color: string,
  { size, anchor = 'start', bold }: { size: number; anchor?: 'start' | 'middle' | 'end'; bold?: boolean },
): Shape {
  return { kind: 'text', text, at, anchor, size, color, bold };
}

function seriesShapes(series: DrawnSeries, area: Area, { theme }: LinePlotOptions): Shape[] {
  const { points, extra, slot, pale, label: name, markers: where = 'all' } = series;
  const em = theme.fontSize;
  const color = colorOf(slot, theme);
  const at = ([x, y]: Point): Point => [placeX(x, area), placeY(y, area)];
  const marker = (point: Point, what: string, hollow: boolean): Shape => ({
    kind: 'marker',
    marker: markerOf(slot),
    at: at(point),
    radius: 0.3 * em,
    color,
    fill: hollow ? theme.background : color,
    hint: `${name}, ${what}: ${Number(point[1].toPrecision(4))}`,
  });
  const line: Shape = { kind: 'line', points: points.map(at), color, width: (pale ? 0.08 : 0.15) * em };
  const marked =
    where === 'all'
      ? points
      : where === 'none'
        ? []
        : [0.1, 0.5, 0.9].map((share) => points[Math.floor(share * points.length)]);
  return [
    ...(points.length > 1 ? [pale ? { ...line, opacity: 0.45 } : line] : []),
    ...(pale ? [] : marked.filter((point) => point !== undefined)).map((point) =>
      marker(point, tickLabel(point[0]), false),
    ),
    ...extra.map((one) => marker(one.at, one.label, true)),
  ];
}

/** The y ticks that have room, most useful first. */
function yTicks(axis: Axis, { fontSize: em }: Theme, length: number): number[] {
  return spaced(
    tickValues(axis),
    (value) => positionOf(value, axis) * length,
    () => 1.7 * em,
  );
}

/** The values whose places are not too close to those before them in the list. */
function spaced(
  values: readonly number[],
  placeOf: (value: number) => number,
  room: (value: number) => number,
): number[] {
  const kept: number[] = [];
  for (const value of values) {
    const free = kept.every((other) => Math.abs(placeOf(value) - placeOf(other)) >= (room(value) + room(other)) / 2);
    if (free) kept.push(value);
  }
  return kept;
}

function horizontal(value: number, area: Area, theme: Theme): Shape[] {
  const em = theme.fontSize;
  const y = placeY(value, area);
  return [
    {
      kind: 'line',
      points: [
        [area.left, y],
        [area.right, y],
      ],
      color: theme.grid,
      width: 0.08 * em,
    },
    label(tickLabel(value), [area.left - 0.5 * em, y + 0.35 * em], theme.muted, { size: em, anchor: 'end' }),
  ];
}

function xTicks({ xTicks: asked, wholeX }: LinePlotOptions, area: Area, theme: Theme): Shape[] {
  const em = theme.fontSize;
  const values = spaced(
    (asked ?? tickValues(area.x)).filter((value) => {
      const position = positionOf(value, area.x);
      return position >= 0 && position <= 1 && (!wholeX || Number.isInteger(value));
    }),
    (value) => placeX(value, area),
    (value) => textWidth(tickLabel(value), em) + em,
  );
  return values.flatMap((value): Shape[] => {
    const x = placeX(value, area);
    return [
      {
        kind: 'line',
        points: [
          [x, area.bottom],
          [x, area.bottom + 0.35 * em],
        ],
        color: theme.muted,
        width: 0.08 * em,
      },
      label(tickLabel(value), [x, area.bottom + 1.5 * em], theme.muted, { size: em, anchor: 'middle' }),
    ];
  });
}

/** The sign of an entry in front of its name: marker, line, or dashes. */
function sign({ slot, points, markers: where = 'all' }: Entry, [x, y]: Point, theme: Theme): Shape[] {
  const em = theme.fontSize;
  const line = (color: string, dash?: number[]): Shape => ({
    kind: 'line',
    points: [
      [x, y],
      [x + 1.1 * em, y],
    ],
    color,
    width: (dash ? 0.1 : 0.15) * em,
    dash,
  });
  if (slot === undefined) return [line(theme.text, [0.3 * em, 0.2 * em])];
  const color = colorOf(slot, theme);
  const at: Point = [x + 0.55 * em, y];
  return [
    ...((points?.length ?? 0) > 1 ? [line(color)] : []),
    ...(where === 'none'
      ? []
      : [{ kind: 'marker', marker: markerOf(slot), at, radius: 0.3 * em, color, fill: color } satisfies Shape]),
  ];
}

function entryColor({ slot }: Entry, theme: Theme): string {
  return slot === undefined ? theme.text : colorOf(slot, theme);
}

/** Names above the plot, as many in a row as fit. */
function legend(entries: readonly Entry[], theme: Theme, width: number): { shapes: Shape[]; height: number } {
  const em = theme.fontSize;
  const shapes: Shape[] = [];
  let [x, y] = [0, 0];
  for (const entry of entries) {
    const text = fitText(entry.label, em, width - 2 * em);
    const needed = 1.6 * em + textWidth(text, em);
    if (x > 0 && x + needed > width) [x, y] = [0, y + 1.6 * em];
    shapes.push(...sign(entry, [x, y + 0.65 * em], theme));
    shapes.push(label(text, [x + 1.6 * em, y + em], entryColor(entry, theme), { size: em }));
    x += needed + 1.4 * em;
  }
  return { shapes, height: y + 1.6 * em };
}

/** Room for the names at the ends of lines: at most two fifths of the plot. */
function longest(entries: readonly Entry[], { fontSize: em }: Theme, width: number): number {
  return Math.min(Math.max(...entries.map((entry) => textWidth(entry.label, em))), 0.4 * width - 2.2 * em);
}

/** Names to the right of the plot, each as near to the end of its line as the others allow. */
function endLabels(entries: readonly Entry[], area: Area, theme: Theme, room: number): Shape[] {
  const em = theme.fontSize;
  const wanted = entries.map((entry) => placeY(entry.y, area));
  const places = spread(wanted, 1.5 * em, area.top, area.bottom);
  return entries.flatMap((entry, i) => [
    ...sign(entry, [area.right + 0.6 * em, places[i]], theme),
    label(fitText(entry.label, em, room), [area.right + 2.1 * em, places[i] + 0.35 * em], entryColor(entry, theme), {
      size: em,
    }),
  ]);
}

/** Moves positions apart to at least `gap`, in their order, and into the bounds as far as they fit. */
export function spread(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a] - wanted[b]);
  const places = [...wanted];
  let before = low - gap;
  for (const i of order) before = places[i] = Math.max(wanted[i], before + gap);
  let after = Math.max(high, low + gap * (wanted.length - 1)) + gap;
  for (const i of order.reverse()) after = places[i] = Math.min(places[i], after - gap);
  return places;
}

function moved(shape: Shape, down: number): Shape {
  if (shape.kind === 'line' || shape.kind === 'dots')
    return { ...shape, points: shape.points.map(([x, y]): Point => [x, y + down]) };
  return { ...shape, at: [shape.at[0], shape.at[1] + down] };
}

function describe({ title, xLabel, yLabel }: LinePlotOptions, entries: readonly Entry[]): string {
  const ends = entries.map(({ label: name, y, slot }) => {
    const value = Number(y.toPrecision(3));
    return slot === undefined ? `${name}: ${value}` : `${name} ends at ${value}`;
  });
  return `${title}. Line plot of ${yLabel} against ${xLabel}. ${ends.join('; ')}.`;
}
