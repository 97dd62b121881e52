// Small plots as SVG text, for self-contained reports.

export interface Series {
  label: string;
  /** Points (x, y), x ascending. Points that are not finite or beyond 1e300 are left out. */
  points: readonly (readonly [number, number])[];
}

interface PlotOptions {
  title: string;
  xLabel: string;
  yLabel: string;
  logX?: boolean;
  logY?: boolean;
  /** Labels of the x axis; default: about five round numbers. */
  xTicks?: readonly number[];
  width?: number;
  height?: number;
}

const COLORS = ['#2563eb', '#dc2626', '#059669', '#d97706', '#7c3aed'];
const MARGIN = { left: 64, right: 16, top: 32, bottom: 44 };

/** Largest plotted value; differences of larger ones could overflow. */
const LARGEST = 1e300;

/** A line plot with axes, ticks and a legend. */
export function linePlot(series: readonly Series[], options: PlotOptions): string {
  const { width = 640, height = 320, logX = false, logY = false } = options;
  const across = logX ? Math.log10 : (x: number) => x;
  const usable = series.map(({ label, points }) => ({
    label,
    points: points.filter(
      ([x, y]) => Math.abs(x) < LARGEST && Math.abs(y) < LARGEST && (!logX || x > 0) && (!logY || y > 0),
    ),
  }));
  const all = usable.flatMap(({ points }) => points);
  if (all.length === 0) return `<p>${escapeHtml(options.title)}: nothing to plot</p>`;
  const [x0, x1] = spread(all.map(([x]) => across(x)));
  const [y0, y1] = spread(all.map(([, y]) => (logY ? Math.log10(y) : y)));
  const place = ([x, y]: readonly [number, number]): string => {
    const px = MARGIN.left + ((across(x) - x0) / (x1 - x0)) * (width - MARGIN.left - MARGIN.right);
    const value = logY ? Math.log10(y) : y;
    const py = height - MARGIN.bottom - ((value - y0) / (y1 - y0)) * (height - MARGIN.top - MARGIN.bottom);
    return `${px.toFixed(1)},${py.toFixed(1)}`;
  };
  const xTicks = (options.xTicks ?? ticks(x0, x1).map((x) => (logX ? 10 ** x : x))).map((x) => {
    const [px] = place([x, logY ? 10 ** y0 : y0]).split(',');
    return `<text x="${px}" y="${height - MARGIN.bottom + 16}" text-anchor="middle">${format(x)}</text>`;
  });
  const yTicks = ticks(y0, y1).map((y) => {
    const [, py] = place([x0, logY ? 10 ** y : y]).split(',');
    return (
      `<line x1="${MARGIN.left}" x2="${width - MARGIN.right}" y1="${py}" y2="${py}" stroke="#e5e7eb"/>` +
      `<text x="${MARGIN.left - 6}" y="${Number(py) + 4}" text-anchor="end">${format(logY ? 10 ** y : y)}</text>`
    );
  });
  const lines = usable.map(({ points }, i) => {
    const color = COLORS[i % COLORS.length];
    return `<polyline fill="none" stroke="${color}" stroke-width="1.5" points="${points.map(place).join(' ')}"/>`;
  });
  const legend = usable.map(
    ({ label }, i) =>
      `<text x="${width - MARGIN.right}" y="${MARGIN.top + 14 * i}" text-anchor="end" fill="${COLORS[i % COLORS.length]}">${escapeHtml(label)}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<text x="${width / 2}" y="16" text-anchor="middle" font-size="13">${escapeHtml(options.title)}</text>`,
    ...yTicks,
    ...xTicks,
    ...lines,
    ...legend,
    `<text x="${width / 2}" y="${height - 8}" text-anchor="middle">${escapeHtml(options.xLabel)}</text>`,
    `<text x="14" y="${height / 2}" text-anchor="middle" transform="rotate(-90 14 ${height / 2})">${escapeHtml(options.yLabel)}</text>`,
    '</svg>',
  ].join('\n');
}

/**
 * A plot of paths in the plane, with equal units on both axes.
 * @param points the positions of all paths, [count, 2] each, in order of time
 */
export function pathPlot(
  points: readonly Float32Array[],
  { title, background, size = 320 }: { title: string; background: Float32Array; size?: number },
): string {
  const [first, last] = [points[0], points[points.length - 1]];
  const reach = [...first, ...last, ...background].reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1;
  const place = (value: number) => ((value / reach + 1) * size) / 2;
  const at = (values: Float32Array, i: number) =>
    [place(values[2 * i]), size - place(values[2 * i + 1])].map((v) => v.toFixed(1));
  const dots = (values: Float32Array, attributes: string) => {
    const circles = Array.from({ length: values.length / 2 }, (_, i) => {
      const [x, y] = at(values, i);
      return `<circle cx="${x}" cy="${y}" r="1.5"/>`;
    });
    return `<g ${attributes}>${circles.join('')}</g>`;
  };
  const lines = Array.from(
    { length: first.length / 2 },
    (_, i) => `<polyline points="${points.map((point) => at(point, i).join(',')).join(' ')}"/>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -20 ${size} ${size + 20}" width="${size}" height="${size + 20}" font-family="sans-serif">`,
    `<text x="${size / 2}" y="-6" text-anchor="middle" font-size="13">${escapeHtml(title)}</text>`,
    dots(background, 'fill="#d1d5db"'),
    `<g fill="none" stroke="${COLORS[0]}" stroke-width="0.7" stroke-opacity="0.5">${lines.join('')}</g>`,
    dots(first, `fill="none" stroke="${COLORS[0]}"`),
    dots(last, `fill="${COLORS[1]}"`),
    '</svg>',
  ].join('\n');
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Lowest and highest value; equal ones are moved apart. */
function spread(values: readonly number[]): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

/** About five round numbers between the bounds. */
function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => (first + i) * step);
}

function format(value: number): string {
  return Number(value.toPrecision(3)).toString();
}
