// Medians, quartiles, and ratios of interleaved timings.

/** A quantile of the samples, linearly interpolated. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** Lower quartile, median and upper quartile. */
export type Quartiles = [lower: number, median: number, upper: number];

export function quartilesOf(samples: readonly number[]): Quartiles {
  return [quantile(samples, 0.25), quantile(samples, 0.5), quantile(samples, 0.75)];
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

export interface Ratio {
  /** The median of the opponent's fastest side divided by our median. */
  ratio: number;
  /** Lower and upper quartile of the per-round ratios. */
  quartiles: [number, number];
  /** The opponent's fastest side. */
  against: string;
}

/**
 * How many times faster we are than the opponent's fastest side.
 * @param ours seconds, one per round
 * @param theirs the same for each side
 */
export function ratioOf(ours: readonly number[], theirs: Readonly<Record<string, readonly number[]>>): Ratio {
  const [[against, best]] = Object.entries(theirs).sort(([, a], [, b]) => median(a) - median(b));
  const rounds = best.map((seconds, round) => seconds / ours[round]);
  return {
    ratio: median(best) / median(ours),
    quartiles: [quantile(rounds, 0.25), quantile(rounds, 0.75)],
    against,
  };
}

/** The geometric mean of ratios and of their quartiles. */
export function meanRatio(ratios: readonly Ratio[]): Pick<Ratio, 'ratio' | 'quartiles'> {
  const [low, high] = [0, 1].map((end) => geometricMean(ratios.map(({ quartiles }) => quartiles[end])));
  return { ratio: geometricMean(ratios.map(({ ratio }) => ratio)), quartiles: [low, high] };
}
