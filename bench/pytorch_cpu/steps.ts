// Whole steps: training and sampling with the official network and with small ones, and the ratios that are made of them.
import type { Config } from '../../src/run/config/index.ts';
import { type Comparison, type Layout, OURS, torchSides } from './comparison.ts';
import { meanRatio, type Ratio, ratioOf } from './statistics.ts';

export interface StepComparison extends Comparison {
  /** Name of a ratio, and the opponents that it is against: those whose names contain this. */
  ratios: Record<string, string>;
}

/** Networks that are compared. */
export interface StepConfigs {
  full: Config;
  /** By name. */
  small: Record<string, Config>;
}

export interface StepOptions {
  rounds: number;
  /** Of the full network: the larger one and the smaller one. */
  batches: readonly [number, number];
  /** Whether PyTorch has kernels of bf16 for this processor; without them a step takes minutes and is not compared. */
  bf16: boolean;
  /** Floating-point operations of a network's forward for one image. */
  flopsOf(config: Config): Promise<number>;
}

const WARMUP = 2;
/** Evaluations of a call: sampling as the product does it includes the solver's own work once an evaluation. */
const EULER_STEPS = 2;
const LAYOUTS: readonly Layout[] = ['contiguous', 'channels_last'];

export const smallRatio = (name: string) => `small_train ${name}`;

/** In the order of what they say. */
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

/** `small_train`, the geometric mean over the small networks; undefined where one of them was not measured. */
export function smallTrain(ratios: Record<string, Ratio>, names: readonly string[]) {
  const each = names.map((name) => ratios[smallRatio(name)]);
  return each.every((ratio) => ratio !== undefined) ? meanRatio(each) : undefined;
}
