// `quickstart`: the main job in miniature. Trains a 1-rectified flow on the UCI digits, samples it from the same noise
// with few and many steps, and writes a report that shows why straight paths matter.
import { join } from 'node:path';
import type { CompileProgress, Device } from '../device/device.ts';
import { declaredModules } from '../device/module.ts';
import { networkVelocity, straightness } from '../flow/index.ts';
import { encodePng, imageGrid, writeFileAtomic } from '../io/index.ts';
import { saveCheckpoint } from './checkpoint.ts';
import { type Config, loadConfig } from './config/index.ts';
import { allImages, pixels, trainingBatches } from './data.ts';
import { trainingLoop, type TrainingStep } from './loop.ts';
import { NearestNeighbourScore } from './nearest.ts';
import { type SampleRow, writeQuickstartReport } from './report/quickstart.ts';
import { type SampleRequest, sampleModel } from './sample.ts';
import { makeFolder, trainingState } from './train.ts';

export interface QuickstartOptions {
  /** Folder of the report. */
  out: string;
  device: Device;
  /** Default: the digits configuration. */
  config?: Config;
  seed?: number;
  signal?: AbortSignal;
  onStep?: (step: TrainingStep) => void;
  onCompile?: (progress: CompileProgress) => void;
  onSample?: (row: { label: string; index: number; total: number }) => void;
}

export interface QuickstartResult {
  report: string;
  checkpoint: string;
  rows: SampleRow[];
  straightness: number;
  seconds: number;
  stopped: boolean;
}

const SAMPLES = 200;

const SOLVERS: { label: string; solver: Pick<SampleRequest, 'solver' | 'steps' | 'tolerance'> }[] = [
  ...[1, 2, 4, 10, 100].map((steps) => ({
    label: `Euler, ${steps} step${steps === 1 ? '' : 's'}`,
    solver: { solver: 'euler' as const, steps },
  })),
  { label: 'RK45, tolerance 1e-5', solver: { solver: 'rk45', tolerance: 1e-5 } },
];

export async function quickstart(options: QuickstartOptions): Promise<QuickstartResult> {
  const { out, device, signal } = options;
  const start = performance.now();
  makeFolder(out);
  const config = options.config ?? (await loadConfig('digits'));
  const seed = options.seed ?? config.seed;
  await device.prepare(declaredModules(), options.onCompile);
  const { model, optimizer } = trainingState({ ...config, seed }, device);
  try {
    const losses: number[] = [];
    const total = config.training.n_iters;
    const steps = await trainingLoop({
      model,
      optimizer,
      device,
      batches: await trainingBatches(config),
      seed,
      batchSize: config.training.batch_size,
      from: 0,
      total,
      signal,
      onStep: (step) => {
        losses.push(step.loss);
        options.onStep?.(step);
      },
    });
    const checkpoint = join(out, 'checkpoint.safetensors');
    await saveCheckpoint(checkpoint, { model, optimizer, config, step: steps });
    const trainSeconds = (performance.now() - start) / 1000;

    const { image_size: size, num_channels: channels } = config.data;
    const width = size * size * channels;
    const heldOut = await allImages(config, 'heldOut');
    const score = new NearestNeighbourScore(await allImages(config, 'train'), heldOut, width);
    return await optimizer.withEma(async () => {
      const rows: SampleRow[] = [];
      for (const [index, { label, solver }] of SOLVERS.entries()) {
        options.onSample?.({ label, index, total: SOLVERS.length });
        // One seed for all: every row starts from the same noise.
        const request = { num: SAMPLES, seed: seed + 1, device, signal, ...solver };
        const { images, nfe, seconds } = await sampleModel(model, config, request);
        const shown = 64;
        const bytes = pixels(images.subarray(0, shown * width), config, 'nearest');
        const png = await encodePng(imageGrid(bytes, [shown, size, size, channels], { columns: 8, padding: 1, scale: 4 }));
        const name = `samples_${solver.solver}${solver.steps ? `_${solver.steps}` : ''}.png`;
        await writeFileAtomic(join(out, name), [png]);
        rows.push({ label, nfe, digits: score.of(images), imagesPerSecond: SAMPLES / seconds, png });
      }
      const straight = await straightness(networkVelocity(model.eval()), {
        shape: [size, size, channels],
        count: SAMPLES,
        seed: seed + 1,
        steps: 100,
        device,
      });
      const seconds = (performance.now() - start) / 1000;
      const report = join(out, 'report.html');
      await writeQuickstartReport(report, {
        config,
        seed,
        losses,
        rows,
        straightness: straight.straightness,
        threshold: score.threshold,
        heldOut: heldOut.length / width,
        parameters: model.parameterCount(),
        trainSeconds,
        seconds,
      });
      return { report, checkpoint, rows, straightness: straight.straightness, seconds, stopped: steps < total };
    });
  } finally {
    optimizer.dispose();
    model.dispose();
  }
}
