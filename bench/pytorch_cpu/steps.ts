// Whole steps: training and sampling with the official network and with small ones, and their ratios.
import type { Config } from '../../src/run/config/index.ts';
import { type Comparison, type Layout, OURS, torchSides } from './comparison.ts';
import { meanRatio, type Ratio, ratioOf } from './timing_statistics.ts';

export interface StepComparison extends Comparison {
  /** The name of a ratio and a substring of the opponents' names. */
  ratios: Record<string, string>;
}

/** The networks to compare. */
export interface StepConfigs {
  full: Config;
  /** Networks by name. */
  small: Record<string, Config>;
}

export interface StepOptions {
  rounds: number;
  /** Batch sizes of the full network, the larger and the smaller. */
  batches: readonly [number, number];
  /** Whether PyTorch has bf16 kernels for this processor; without them a step takes minutes and is skipped. */
  bf16: boolean;
  /** Floating-point operations of a network's forward for one image. */
  flopsOf(config: Config): Promise<number>;
}

const WARMUP = 2;
/** Network evaluations per call; sampling includes the solver's work at each one. */
const EULER_STEPS = 2;
const LAYOUTS: readonly Layout[] = ['contiguous', 'channels_last'];

export const smallRatio = (name: string) => `small_train ${name}`;

/** Comparisons, the most informative first. */
export function stepComparisons({ full, small }: StepConfigs, options: StepOptions): Promise<StepComparison[]> {
  const { batches, bf16 } = options;
  const [large, little] = batches;
  const fp32 = torchSides(LAYOUTS, false);
  const training = (name: string, config: Config, batch: number, rest: Pick<StepComparison, 'opponents' | 'ratios'>) =>
    stepComparison(name, { kind: 'train', config, batch }, 3, options, rest);
  return Promise.all([
    training(`train b${large}`, full, large, {
      opponents: { ...fp32, ...(bf16 ? torchSides(LAYOUTS, true) : {}) },
      ratios: { [`train_fp32_b${large}`]: 'fp32', ...(bf16 ? { [`train_vs_bf16_b${large}`]: 'bf16' } : {}) },
    }),
    training(`train b${little}`, full, little, { opponents: fp32, ratios: { [`train_fp32_b${little}`]: 'fp32' } }),
    stepComparison(`sample b${large}`, { kind: 'sample', config: full, batch: large, steps: EULER_STEPS }, 1, options, {
      opponents: fp32,
      ratios: { [`sample_b${large}`]: 'fp32' },
    }),
    ...Object.entries(small).map(([name, config]) =>
      training(`small ${name} b${config.training.batch_size}`, config, config.training.batch_size, {
        opponents: fp32,
        ratios: { [smallRatio(name)]: 'fp32' },
      }),
    ),
  ]);
}

async function stepComparison(
  name: string,
  workload: StepComparison['workload'] & { config: Config; batch: number },
  passes: number,
  { rounds, flopsOf }: StepOptions,
  rest: Pick<StepComparison, 'opponents' | 'ratios'>,
): Promise<StepComparison> {
  const flops = passes * workload.batch * (await flopsOf(workload.config));
  return { name, workload, flops, turns: { rounds, warmup: WARMUP }, ...rest };
}

/** The ratios of a comparison, by name. */
export function stepRatios({ ratios }: StepComparison, samples: Record<string, number[]>): Record<string, Ratio> {
  const { [OURS]: ours, ...opponents } = samples;
  return Object.fromEntries(
    Object.entries(ratios).map(([name, part]) => {
      const theirs = Object.fromEntries(Object.entries(opponents).filter(([side]) => side.includes(part)));
      return [name, ratioOf(ours, theirs)];
    }),
  );
}

/** `small_train`, the geometric mean over the small networks; undefined if one of them was not measured. */
export function smallTrain(ratios: Record<string, Ratio>, names: readonly string[]) {
  const each = names.map((name) => ratios[smallRatio(name)]);
  return each.every((ratio) => ratio !== undefined) ? meanRatio(each) : undefined;
}
