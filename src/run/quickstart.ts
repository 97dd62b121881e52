// `quickstart`: the main job in miniature. Trains a 1-rectified flow on the UCI digits, samples it from the same noise
// with few and many steps, and writes a report that shows why straight paths matter.
import { join } from 'node:path';
import type { CompileProgress, Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { energyDistance, networkVelocity, straightness } from '../flow/index.ts';
import { encodePng, imageGrid, writeFileAtomic } from '../io/index.ts';
import type { UNet } from '../nn/unet.ts';
import { saveCheckpoint } from './checkpoint.ts';
import { type Config, loadConfig } from './config/index.ts';
import { allImages, pixels, trainingBatches } from './data.ts';
import { type TrainingStep, trainingLoop } from './loop.ts';
import { NearestNeighbourScore } from './nearest.ts';
import { flowObjective } from './objective.ts';
import { type Judgement, type SampleRow, writeQuickstartReport } from './report/quickstart.ts';
import { type SampleRequest, sampleModel } from './sample.ts';
import { trainingState } from './session.ts';
import { makeFolder } from './workdir.ts';

export interface QuickstartOptions {
  /** Folder of the report. */
  out: string;
  device: Device;
  /** Default: the digits configuration. */
  config?: Config;
  seed?: number;
  signal?: AbortSignal;
  /** Told after each update. */
  onStep?: (step: TrainingStep) => void;
  /** Told as kernels are compiled, before the first step. */
  onCompile?: (progress: CompileProgress) => void;
  /** Told before each solver is run. */
  onSample?: (row: { label: string; index: number; total: number }) => void;
}

export interface QuickstartResult {
  checkpoint: string;
  /** Updates done. */
  steps: number;
  seconds: number;
  /** Absent when `signal` ended it before the report was written. */
  judged?: { report: string; rows: SampleRow[]; straightness: number };
}

const SAMPLES = 200;

const SOLVERS: { label: string; solver: Pick<SampleRequest, 'solver' | 'steps' | 'tolerance'> }[] = [
  ...[1, 2, 4, 10, 100].map((steps) => ({
    label: `Euler, ${steps} step${steps === 1 ? '' : 's'}`,
    solver: { solver: 'euler' as const, steps },
  })),
  { label: 'RK45, tolerance 1e-5', solver: { solver: 'rk45', tolerance: 1e-5 } },
];

/** When `signal` is aborted, what is running ends, the weights so far are in the checkpoint, and there is no report. */
export async function quickstart(options: QuickstartOptions): Promise<QuickstartResult> {
  const { out, device, signal } = options;
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  makeFolder(out);
  const config = options.config ?? (await loadConfig('digits'));
  const seed = options.seed ?? config.seed;
  await device.prepare(declaredModules(), options.onCompile);
  const { model, optimizer } = trainingState({ ...config, seed }, device);
  try {
    const losses: number[] = [];
    const steps = await trainingLoop({
      model,
      optimizer,
      device,
      objective: flowObjective(await trainingBatches(config), { model, config: { ...config, seed }, device }),
      batchSize: config.training.batch_size,
      accumulation: config.training.accumulation,
      from: 0,
      total: config.training.n_iters + 1,
      signal,
      onStep: (step) => {
        losses.push(step.loss);
        options.onStep?.(step);
      },
    });
    const checkpoint = join(out, 'checkpoint.safetensors');
    await saveCheckpoint(checkpoint, { model, optimizer, config, step: steps });
    const trainSeconds = elapsed();
    try {
      const judged = await optimizer.withEma(() => judge(model, config, { ...options, seed: seed + 1 }));
      const report = join(out, 'report.html');
      const parameters = model.parameterCount();
      await writeQuickstartReport(report, {
        config,
        seed,
        losses,
        parameters,
        trainSeconds,
        seconds: elapsed(),
        ...judged,
      });
      return { checkpoint, steps, seconds: elapsed(), judged: { report, ...judged } };
    } catch (error) {
      if (!signal?.aborted || error !== signal.reason) throw error;
      return { checkpoint, steps, seconds: elapsed() };
    }
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}

/** Draws the same noise through every solver, writes a picture of each, and compares with real digits. */
async function judge(model: UNet, config: Config, options: QuickstartOptions & { seed: number }): Promise<Judgement> {
  const { out, device, signal, seed } = options;
  signal?.throwIfAborted();
  const { image_size: size, num_channels: channels } = config.data;
  const width = size * size * channels;
  const heldOut = await allImages(config, 'heldOut');
  const score = new NearestNeighbourScore(await allImages(config, 'train'), heldOut, width);
  const rows: SampleRow[] = [];
  for (const [index, { label, solver }] of SOLVERS.entries()) {
    options.onSample?.({ label, index, total: SOLVERS.length });
    const { images, nfe, seconds } = await sampleModel(model, config, {
      num: SAMPLES,
      seed,
      device,
      signal,
      ...solver,
    });
    const shown = 64;
    const bytes = pixels(images.subarray(0, shown * width), config, 'nearest');
    const png = await encodePng(imageGrid(bytes, [shown, size, size, channels], { columns: 8, padding: 1, scale: 4 }));
    const name = `samples_${solver.solver}${solver.steps ? `_${solver.steps}` : ''}.png`;
    await writeFileAtomic(join(out, name), [png]);
    rows.push({
      label,
      nfe,
      digits: score.of(images),
      energyDistance: energyDistance(images, heldOut, width),
      imagesPerSecond: SAMPLES / seconds,
      png,
    });
  }
  const measured = await straightness(networkVelocity(model.eval()), {
    shape: [size, size, channels],
    count: SAMPLES,
    seed,
    steps: 100,
    device,
    signal,
  });
  return { rows, straightness: measured.straightness, threshold: score.threshold, heldOut: heldOut.length / width };
}
