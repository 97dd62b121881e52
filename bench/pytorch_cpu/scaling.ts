// Measures how the time of our training step grows with batch, channels, resolution and threads, one at a time.
import type { Config } from '../../src/run/config/index.ts';
import { type Comparison, OURS } from './comparison.ts';
import { median } from './timing_statistics.ts';

/** The settings of a training step. */
interface Setting {
  batch: number;
  channels: number;
  resolution: number;
  threads: number;
}

export type Growth = { [Factor in keyof Setting]: readonly number[] };

export interface ScalingComparison extends Comparison {
  setting: Setting;
}

export interface ScalingOptions {
  config: Config;
  growth: Growth;
  base: Setting;
  flopsOf(config: Config): Promise<number>;
}

const TURNS = { rounds: 3, warmup: 2 };

/** Every setting once; the base setting occurs in each series. */
export function scalingComparisons({ config, growth, base, flopsOf }: ScalingOptions): Promise<ScalingComparison[]> {
  const settings = new Map<string, Setting>();
  for (const [factor, values] of Object.entries(growth))
    for (const value of values) {
      const setting = { ...base, [factor]: value };
      settings.set(nameOf(setting), setting);
    }
  const comparisons = [...settings].map(async ([name, setting]): Promise<ScalingComparison> => {
    const { batch, channels, resolution, threads } = setting;
    const { data, model } = config;
    const changed = {
      ...config,
      data: { ...data, image_size: resolution },
      model: { ...model, nf: channels },
    };
    return {
      name,
      setting,
      workload: { kind: 'train', config: changed, batch, threads },
      opponents: {},
      flops: 3 * batch * (await flopsOf(changed)),
      turns: TURNS,
    };
  });
  return Promise.all(comparisons);
}

function nameOf({ batch, channels, resolution, threads }: Setting): string {
  return `scaling b${batch} ${channels} channels ${resolution}x${resolution} ${threads} thread${threads > 1 ? 's' : ''}`;
}

export interface ScalingRow extends Setting {
  flops: number;
  /** Seconds. */
  samples: number[];
}

export function scalingRow({ setting, flops }: ScalingComparison, samples: Record<string, number[]>): ScalingRow {
  return { ...setting, flops, samples: samples[OURS] };
}

/** The measured rows, grouped by the factor that grows. */
export function growthTable(
  rows: readonly ScalingRow[],
  { growth, base }: Pick<ScalingOptions, 'growth' | 'base'>,
  peakOf: (threads: number) => number,
): string[][] {
  return Object.entries(growth).flatMap(([factor, values]) =>
    values.flatMap((value) => {
      const wanted = nameOf({ ...base, [factor]: value });
      const row = rows.find((candidate) => nameOf(candidate) === wanted);
      if (!row) return [];
      const seconds = median(row.samples);
      const rate = row.flops / seconds;
      return [
        [
          `${factor} ${value}`,
          (1e3 * seconds).toFixed(1),
          (row.batch / seconds).toFixed(1),
          (rate / 1e9).toFixed(0),
          `${((100 * rate) / peakOf(row.threads)).toFixed(0)} %`,
        ],
      ];
    }),
  );
}
