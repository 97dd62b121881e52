// Small charts with uPlot, in the colours of the theme.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { themeVersion } from './theme.ts';

export interface Line {
  name: string;
  /** A property of the style sheet, such as --from. */
  colour: string;
  x: number[];
  y: number[];
  dash?: number[];
  points?: boolean;
}

interface ChartProps {
  lines: Line[];
  label: string;
  logX?: boolean;
  logY?: boolean;
  height?: number;
  /** Text of a value of the horizontal axis. */
  xText?: (value: number) => string;
  /** Where the horizontal axis has marks. */
  marks?: number[];
}

export function Chart({ lines, label, logX, logY, height = 120, xText, marks }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const shape = `${lines.map(({ name, colour }) => name + colour).join()} ${logX} ${logY} ${themeVersion.value}`;
  const data = aligned(lines);
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const style = getComputedStyle(element);
    const read = (name: string) => style.getPropertyValue(name).trim();
    const axis: uPlot.Axis = {
      stroke: read('--quiet'),
      grid: { stroke: read('--hair'), width: 1 },
      ticks: { show: false },
      font: '11px system-ui, sans-serif',
      gap: 4,
    };
    const made = new uPlot(
      {
        width: element.clientWidth || 260,
        height,
        cursor: { show: false },
        legend: { show: false },
        padding: [6, 14, 0, 0],
        scales: {
          x: { time: false, distr: logX ? 3 : 1 },
          y: {
            distr: logY ? 3 : 1,
            range: logY ? undefined : (_u, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1],
          },
        },
        axes: [
          {
            ...axis,
            size: 24,
            gap: 8,
            values: xText ? (_u, values) => values.map((v) => (v === null ? '' : xText(v))) : undefined,
            splits: marks ? () => marks : undefined,
            filter: marks ? (_u, splits) => splits : undefined,
          },
          { ...axis, size: 40, values: (_u, values) => values.map((v) => (v === null ? '' : tick(v))) },
        ],
        series: [
          {},
          ...lines.map((line) => ({
            label: line.name,
            stroke: read(line.colour),
            width: 1.6,
            dash: line.dash,
            spanGaps: true,
            points: { show: line.points ?? false, size: 6, fill: read(line.colour) },
          })),
        ],
      },
      latest.current,
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(([entry]) => made.setSize({ width: entry.contentRect.width, height }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(latest.current));
  return <div class="chart" ref={box} role="img" aria-label={label} />;
}

/** Columns over all x of the lines, with gaps where a line has no value. */
function aligned(lines: Line[]): uPlot.AlignedData {
  const all = [...new Set(lines.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const columns = lines.map(({ x, y }) => {
    const at = new Map(x.map((value, i) => [value, y[i]]));
    return all.map((value) => at.get(value) ?? null);
  });
  return [all, ...columns] as uPlot.AlignedData;
}

function tick(value: number): string {
  const size = Math.abs(value);
  if (size >= 10_000) return `${value / 1000}k`;
  return size >= 1 || size === 0 ? String(Number(value.toFixed(1))) : String(Number(value.toPrecision(1)));
}
