// The plots of a report: distance against evaluations, and losses during training.
import { type Drawing, type LinePlotOptions, linePlot, type Point, pageTheme, type Series } from '../plot/index.ts';
import type { LoggedStep } from '../workdir/log.ts';
import type { ReportFigures } from './figures.ts';
import { NARROW } from './html.ts';
import type { MeasuredFlow } from './measure.ts';

/** Ratio of the largest to the smallest value from which on an axis is logarithmic. */
const WIDE_RANGE = 8;

/** @param distances of the rows of each flow that count; a flow distilled to some steps has only those */
export function distancePlot(
  flows: readonly MeasuredFlow[],
  figures: ReportFigures,
  width: number,
): Drawing | undefined {
  const series = flows.map(({ flow, rows }): Series => {
    const scored = rows.flatMap(({ sampler, nfe, distance }) =>
      distance === undefined ? [] : [{ sampler, at: [nfe, distance] as const }],
    );
    return {
      label: flow.name,
      points: scored.filter(({ sampler }) => sampler !== 'rk45' && isMeant(flow, sampler)).map(({ at }) => at),
      extra: scored
        .filter(({ sampler }) => sampler === 'rk45' && isMeant(flow, sampler))
        .map(({ at }) => ({ at, label: 'RK45' })),
    };
  });
  const reference = figures.heldOut ? [{ label: 'real images', y: figures.heldOut.fd }] : [];
  return linePlot(series, {
    theme: pageTheme,
    title: 'Quality against cost',
    xLabel: 'evaluations per sample; hollow: RK45',
    yLabel: 'distance to the training images; lower is better',
    logX: true,
    logY: wide([...series.flatMap(({ points }) => points.map(([, y]) => y)), ...reference.map(({ y }) => y)]),
    xTicks: flows[0].rows.filter(({ sampler }) => sampler !== 'rk45').map(({ nfe }) => nfe),
    references: reference,
    width,
    height: 330,
  });
}

/** Whether a flow was trained for a sampler: a generator distilled to k steps is meant for k steps only. */
export function isMeant({ distilledTo }: MeasuredFlow['flow'], sampler: string): boolean {
  return distilledTo === undefined || sampler === String(distilledTo);
}

export function lossPlot(name: string, log: readonly LoggedStep[]): Drawing | undefined {
  const points = log.map(({ step, loss }): Point => [step, loss]);
  const mean = smooth(points, MEAN_OF);
  const evaluated = log.flatMap(({ step, evalLoss }): Point[] => (evalLoss === undefined ? [] : [[step, evalLoss]]));
  return linePlot(
    [
      { label: 'each step', points: thin(points), pale: mean.length > 0, markers: 'none', slot: 0 },
      { label: `mean of ${MEAN_OF} steps`, points: thin(mean), markers: 'none', slot: 0 },
      ...(evaluated.length > 0
        ? [{ label: 'held-out images', points: thin(evaluated, 40), slot: 1 } satisfies Series]
        : []),
    ],
    {
      ...small,
      title: name,
      xLabel: 'step',
      yLabel: 'loss',
      logY: wide(points.map(([, y]) => y)),
    },
  );
}

/** Straightness during training; undefined unless at least three steps have it. */
export function straightnessPlot(name: string, log: readonly LoggedStep[]): Drawing | undefined {
  // Before the first update all velocities are 0, and their paths are straight.
  const points = log.flatMap(({ step, straightness }): Point[] =>
    straightness === undefined || straightness === 0 ? [] : [[step, straightness]],
  );
  if (points.length < 3) return undefined;
  return linePlot([{ label: name, points: thin(points, 40) }], {
    ...small,
    title: `${name}: straightness`,
    xLabel: 'step',
    yLabel: 'deviation from straight paths; 0 is straight',
    logY: wide(points.map(([, y]) => y)),
  });
}

const small = { theme: pageTheme, width: NARROW, height: 250, wholeX: true } satisfies Partial<LinePlotOptions>;
const MEAN_OF = 25;

export function wide(values: readonly number[]): boolean {
  let [low, high] = [Number.POSITIVE_INFINITY, 0];
  for (const value of values) {
    if (value <= 0) return false;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return high / low > WIDE_RANGE;
}

/** Moving averages of `width` values, each at the step of its last value. */
export function smooth(points: readonly Point[], width: number): Point[] {
  const means: [number, number][] = [];
  let sum = 0;
  points.forEach(([step, value], i) => {
    sum += value - (i >= width ? points[i - width][1] : 0);
    if (i >= width - 1) means.push([step, sum / width]);
  });
  return means;
}

/** At most `most` evenly spaced points, by default more than a small plot can resolve, and the last one. */
export function thin(points: readonly Point[], most = 400): Point[] {
  const every = Math.ceil(points.length / most);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
