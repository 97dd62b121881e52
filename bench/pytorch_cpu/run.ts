// Runs the whole benchmark: set-up, the check that both sides compute the same, then the measurements, whole steps first.
import { fileURLToPath } from 'node:url';
import { openDevice } from '../../src/device/open.ts';
import type { Config } from '../../src/run/config/index.ts';
import { measurePeaks, type Peaks } from '../peak.ts';
import { type Comparison, compare, expectedSeconds, type Workers } from './comparison.ts';
import type { BenchOptions } from './flags.ts';
import { type CountedLayer, type LayerRow, layerComparisons, layerRow, networkFlops } from './layers.ts';
import { convolutionComparison, startOthers } from './others.ts';
import { findPython } from './python.ts';
import { type NetworkDifference, requireSameNetwork } from './same_network.ts';
import { type ScalingOptions, type ScalingRow, scalingComparisons, scalingRow } from './scaling.ts';
import { fullSizes, type Sizes, smallSizes } from './sizes.ts';
import { smallTrain, stepComparisons, stepRatios } from './steps.ts';
import { requireSameText, textComparisons, textSizes } from './text.ts';
import type { Ratio } from './timing_statistics.ts';
import { Worker } from './worker.ts';

type Say = (text: string) => void;
type Samples = Record<string, number[]>;

export interface Profile {
  name: string;
  /** Kernel times of each profiled step. */
  seconds: number[];
  kernels: { kernel: string; launches: number; seconds: number }[];
}

export interface Results {
  threads: number;
  versions: Record<string, string>;
  allocator: Record<string, string>;
  /** Peaks by number of threads; the best of those measured before, between and after. */
  peaks: Record<number, Peaks>;
  same: NetworkDifference;
  ratios: Record<string, Pick<Ratio, 'ratio' | 'quartiles'> & Partial<Ratio>>;
  steps: { name: string; batch: number; flops: number; samples: Samples }[];
  layers: LayerRow[];
  /** Undefined if it was not requested. */
  others: { name: string; flops: number; samples: Samples } | undefined;
  scaling: ScalingRow[];
  growth: Pick<ScalingOptions, 'growth' | 'base'>;
  profiles: Profile[];
}

/** Settings that make glibc's allocator keep its memory; otherwise PyTorch's large tensors are unmapped and faulted in repeatedly. */
const ALLOCATOR = {
  MALLOC_MMAP_MAX_: '0',
  MALLOC_TRIM_THRESHOLD_: '1099511627776',
  MALLOC_TOP_PAD_: '268435456',
};
const PROFILED_STEPS = 2;

/**
 * @param say receives progress
 * @throws Error if Python, PyTorch or a worker fails, or the networks differ
 */
export async function runBench(options: BenchOptions, say: Say): Promise<Results> {
  const { threads, rounds, only } = options;
  const wanted = ({ name }: { name: string }) => name.includes(only);
  const python = findPython(options.python, say);
  const peaks = await measureAllPeaks({}, threads);
  using engine = startEngine(threads);
  using torch = startTorch(python, threads);
  const workers: Workers = { engine, torch };
  const theirs = await torch.ask<{ bf16: boolean }>('about');
  const versions = { ...(await engine.ask<object>('about')), ...theirs };
  if (!theirs.bf16) say('PyTorch has no kernels of bf16 for this processor: fp32 alone is compared');
  const sizes = options.small ? await smallSizes() : await fullSizes();
  const same = await requireSameNetwork(Object.values(sizes.small)[0], workers);

  const plan = await makePlan(sizes, { rounds, threads, torch, bf16: theirs.bf16 });
  const steps = [...plan.steps.filter(wanted), ...(await makeTextPlan(options, workers, say))];
  const layers = plan.layers.filter(wanted);
  const scaling = plan.scaling.filter(wanted);
  const profiles = plan.profiles.filter(wanted);
  const others = wanted(plan.others) ? [plan.others] : [];
  const all: Comparison[] = [...steps, ...layers, ...others, ...scaling];
  if (all.length + profiles.length === 0) throw new Error(`nothing that is measured has "${only}" in its name`);
  const seconds = all.reduce((sum, comparison) => sum + expectedSeconds(comparison, peaks[threads].flops), 0);
  say(`${all.length + profiles.length} measurements, about ${Math.ceil(seconds / 60)} min`);

  const results: Results = {
    threads,
    versions: Object.fromEntries(Object.entries(versions).map(([what, version]) => [what, String(version)])),
    allocator: ALLOCATOR,
    peaks,
    same,
    ratios: {},
    steps: [],
    layers: [],
    others: undefined,
    scaling: [],
    growth: plan.growth,
    profiles: [],
  };
  for (const comparison of steps) {
    say(comparison.name);
    const samples = await compare(comparison, workers);
    const { name, flops, workload } = comparison;
    results.steps.push({ name, batch: workload.batch as number, flops, samples });
    Object.assign(results.ratios, stepRatios(comparison, samples));
  }
  const small = smallTrain(results.ratios as Record<string, Ratio>, Object.keys(sizes.small));
  if (small) results.ratios.small_train = small;
  await measureAllPeaks(peaks, threads);
  for (const comparison of layers) {
    say(comparison.name);
    results.layers.push(layerRow(comparison, await compare(comparison, workers)));
  }
  for (const comparison of others) {
    using started = startOthers(threads, say);
    if (started) Object.assign(results.versions, await started.ask('about'));
    say(comparison.name);
    const samples = await compare(comparison, { ...workers, others: started });
    results.others = { name: comparison.name, flops: comparison.flops, samples };
  }
  for (const comparison of scaling) {
    say(comparison.name);
    results.scaling.push(scalingRow(comparison, await compare(comparison, workers)));
  }
  for (const { name, workload } of profiles) {
    say(name);
    results.profiles.push({ name, ...(await profileOf(engine, workload)) });
  }
  await measureAllPeaks(peaks, threads);
  return results;
}

/** Starts our worker, as built. */
export function startEngine(threads: number): Worker {
  const script = fileURLToPath(new URL('./engine.mjs', import.meta.url));
  return new Worker({
    name: "our engine's worker",
    command: process.execPath,
    args: [script, '--threads', `${threads}`],
  });
}

export function startTorch(python: string, threads: number): Worker {
  const script = fileURLToPath(new URL('../pytorch/cpu.py', import.meta.url));
  const env = { ...ALLOCATOR, OMP_NUM_THREADS: String(threads), PYTHONDONTWRITEBYTECODE: '1' };
  return new Worker({ name: "PyTorch's worker", command: python, args: [script, '--threads', `${threads}`], env });
}

interface PlanOptions {
  rounds: number;
  threads: number;
  torch: Worker;
  bf16: boolean;
}

async function makePlan(sizes: Sizes, { rounds, threads, torch, bf16 }: PlanOptions) {
  const layersOf = async (config: Config) => (await torch.ask<{ layers: CountedLayer[] }>('layers', { config })).layers;
  const flopsOf = async (config: Config) => networkFlops(await layersOf(config));
  const { full, batches, layerBatches, convolution } = sizes;
  const layerTurns = { rounds, warmup: 2, calls: 2 };
  const growth = { ...sizes.growth, threads: [...new Set([1, threads])] };
  const base = {
    batch: batches[1],
    channels: full.model.nf,
    resolution: full.data.image_size,
    threads,
  };
  return {
    steps: await stepComparisons(sizes, { rounds, batches, bf16, flopsOf }),
    layers: layerComparisons(await layersOf(full), full, layerBatches, layerTurns),
    others: convolutionComparison(convolution, layerBatches[0], layerTurns),
    scaling: await scalingComparisons({ config: full, growth, base, flopsOf }),
    growth: { growth, base },
    profiles: batches.map((batch) => ({
      name: `profile b${batch}`,
      workload: { kind: 'train', config: full, batch },
    })),
  };
}

/** Text to image is measured only if it is named: it needs 2.1 GB of disk and 14 GB of memory. */
async function makeTextPlan({ only, rounds, small }: BenchOptions, workers: Workers, say: Say) {
  if (!only.includes('text')) return [];
  const sizes = await textSizes(small, say);
  await requireSameText(sizes, workers);
  return textComparisons(sizes, rounds).filter(({ name }) => name.includes(only));
}

/** Measures the peaks with one thread and with all, and keeps the maximum in `peaks`. */
async function measureAllPeaks(peaks: Results['peaks'], threads: number): Promise<Results['peaks']> {
  for (const count of new Set([1, threads])) {
    const { flops, bandwidth } = measurePeaks(await openDevice('cpu', { threads: count }));
    const before = peaks[count] ?? { flops: 0, bandwidth: 0 };
    peaks[count] = { flops: Math.max(flops, before.flops), bandwidth: Math.max(bandwidth, before.bandwidth) };
  }
  return peaks;
}

async function profileOf(engine: Worker, workload: object): Promise<Omit<Profile, 'name'>> {
  const name = 'profile';
  await engine.ask('open', { name, ...workload });
  await engine.ask('run', { name, calls: 2 });
  const found = await engine.ask<Omit<Profile, 'name'>>('profile', { name, calls: PROFILED_STEPS });
  await engine.ask('close', { name });
  return found;
}
