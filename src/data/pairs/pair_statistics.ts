// A test for N(0, 1) by four moments and the largest distance between the distribution functions (Kolmogorov-Smirnov),
// accumulated value by value.
//
// limits: k standard errors of the statistic for n independent normals, and a floor below which deviations do not matter
//   mean 6 / sqrt(n), variance 6 sqrt(2 / n), kurtosis 6 sqrt(24 / n), distance 2.5 / sqrt(n)
import { checkArgument, kinds, wholeFrom } from '../../arguments.ts';
import { ValueError } from '../../errors.ts';

/** Distribution functions are compared at the edges of this number of bins over [-REACH, REACH]. */
const BINS = 4096;
const REACH = 8;

export interface NoiseFacts {
  count: number;
  mean: number;
  variance: number;
  /** 0 for a normal distribution. */
  excessKurtosis: number;
  /** Largest difference from the distribution function of N(0, 1). */
  distance: number;
}

/** Accumulates statistics of numbers that should be N(0, 1). */
export class NoiseStatistics {
  /** Number of values added. */
  count = 0;
  private readonly sums = [0, 0, 0, 0];
  private readonly bins = new Float64Array(BINS);

  /** Adds values divided by `scale`, their expected standard deviation. Non-finite values are skipped. */
  add(values: Float32Array, scale: number): void {
    const [bins, width] = [this.bins, (2 * REACH) / BINS];
    let [s1, s2, s3, s4, n] = [0, 0, 0, 0, 0];
    for (const value of values) {
      const x = value / scale;
      if (!Number.isFinite(x)) continue;
      const square = x * x;
      s1 += x;
      s2 += square;
      s3 += square * x;
      s4 += square * square;
      n++;
      bins[Math.min(Math.max(Math.floor((x + REACH) / width), 0), BINS - 1)]++;
    }
    for (const [i, sum] of [s1, s2, s3, s4].entries()) this.sums[i] += sum;
    this.count += n;
  }

  facts(): NoiseFacts {
    const n = this.count;
    const [mean, m2, m3, m4] = this.sums.map((sum) => sum / n);
    const variance = m2 - mean * mean;
    const fourth = m4 - 4 * mean * m3 + 6 * mean * mean * m2 - 3 * mean ** 4;
    return { count: n, mean, variance, excessKurtosis: fourth / variance ** 2 - 3, distance: this.distance() };
  }

  private distance(): number {
    let [below, worst] = [0, 0];
    for (let bin = 0; bin < BINS - 1; bin++) {
      below += this.bins[bin];
      const x = ((bin + 1) * 2 * REACH) / BINS - REACH;
      worst = Math.max(worst, Math.abs(below / this.count - normalDistribution(x)));
    }
    return worst;
  }
}

/** The reasons why statistics contradict N(0, 1); empty for noise. */
export function reasonsAgainstNoise({ count, mean, variance, excessKurtosis, distance }: NoiseFacts): string[] {
  const root = Math.sqrt(count);
  return [
    !(Math.abs(mean) <= 6 / root + 1e-3) && `mean ${mean.toPrecision(3)}`,
    !(Math.abs(variance - 1) <= (6 * Math.SQRT2) / root + 2e-3) && `variance ${variance.toPrecision(4)}`,
    !(Math.abs(excessKurtosis) <= (6 * Math.sqrt(24)) / root + 1e-2) &&
      `kurtosis ${(3 + excessKurtosis).toPrecision(4)}`,
    !(distance <= 2.5 / root + 2e-3) && `distance ${distance.toPrecision(2)} from a normal distribution`,
  ].filter((reason) => reason !== false);
}

/** P(N(0, 1) < x), accurate to 8e-8: the error function by formula 7.1.26 of Abramowitz and Stegun. */
export function normalDistribution(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  const tail = (series * Math.exp(-z * z)) / 2;
  return x < 0 ? tail : 1 - tail;
}

const channelCount = wholeFrom(1, 65536);

/** Mean and standard deviation of each channel, over images [H, W, C]. */
export class ChannelStatistics {
  private readonly sums: Float64Array;
  private readonly squares: Float64Array;
  private readonly channels: number;
  private count = 0;

  constructor(channels: number) {
    checkArgument('ChannelStatistics', 'channels', channels, channelCount);
    this.channels = channels;
    this.sums = new Float64Array(channels);
    this.squares = new Float64Array(channels);
  }

  /** Adds whole images, channels last. */
  add(values: Float32Array): void {
    checkArgument('ChannelStatistics.add', 'values', values, kinds.float32);
    const { channels, sums, squares } = this;
    if (values.length % channels !== 0)
      throw new ValueError(
        `[ChannelStatistics.add] expected pixels of ${channels} values, got ${values.length} values`,
      );
    for (let i = 0; i < values.length; i++) {
      sums[i % channels] += values[i];
      squares[i % channels] += values[i] * values[i];
    }
    this.count += values.length / channels;
  }

  /** Mean and standard deviation per channel, over everything added. */
  facts(): { mean: number[]; deviation: number[] } {
    const mean = Array.from(this.sums, (sum) => sum / this.count);
    const deviation = mean.map((value, c) => Math.sqrt(Math.max(0, this.squares[c] / this.count - value * value)));
    return { mean, deviation };
  }
}
