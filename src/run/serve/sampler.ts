// The network behind the sampling server.

import { basename } from 'node:path';
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { declaredModules } from '../../device/module.ts';
import { networkVelocity, type Velocity } from '../../flow/index.ts';
import { encodePng, imageGrid } from '../../io/index.ts';
import { ones, zeros } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { turn } from '../../turn.ts';
import { type LoadModelOptions, loadModel } from '../checkpoints/open.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { pixels } from '../data.ts';
import { packageVersion } from '../machine/provenance.ts';
import { microBatchFor } from '../sampling/memory.ts';
import { type SampledImages, sampleModel } from '../sampling/sample.ts';
import type { Order } from './request.ts';
import type { Sampler } from './samples.ts';

const MOST_COUNT = 256;
/** Most pixel values of one order. Encoding that many as a PNG blocks the event loop for about half a second. */
const MOST_VALUES = 2 ** 21;
const MOST_STEPS = 1000;
/** Target time for which one evaluation of the network blocks the event loop, in seconds. */
const PART_SECONDS = 0.1;

/** Loads a checkpoint and measures how long its network blocks the event loop. @throws as loadModel */
export async function openSampler(
  reference: string,
  config: Config,
  options: Pick<LoadModelOptions, 'device' | 'partial' | 'onNotice'>,
): Promise<Sampler & Disposable> {
  const { device } = options;
  const { use_ode_sampler: sampler, sample_N: steps, memory_budget: budget } = config.sampling;
  const shape = imageShape(config);
  await device.prepare(declaredModules());
  const { model, checkpoint } = await loadModel(reference, config, options);
  const mostCount = Math.max(1, Math.min(MOST_COUNT, Math.floor(MOST_VALUES / sizeOf(shape))));
  const { microBatch, blocking } = disposeOnError(model, () => {
    const velocity = networkVelocity(model.eval());
    const fitting = microBatchFor(velocity, shape, { batch: mostCount, budget, device });
    const seconds = secondsOf(velocity, shape, device);
    return { microBatch: Math.max(1, Math.min(fitting, Math.floor(PART_SECONDS / seconds))), blocking: seconds };
  });
  return {
    rules: { mostCount, mostSteps: Math.max(MOST_STEPS, steps), seed: config.seed, sampler, steps },
    about: { version: packageVersion(), device: device.name, checkpoint: basename(checkpoint.path), shape },
    blocking,
    async draw(order, type, signal) {
      const { count: num, sampler: solver, ...how } = order;
      const drawn = await sampleModel(model, config, { ...how, num, solver, microBatch, device, signal });
      if (type === 'application/json') return { body: await asJson(order, drawn, config, signal) };
      const headers: Record<string, string> = {};
      if (drawn.leftOut.length > 0) headers['x-left-out'] = String(drawn.leftOut.length);
      return { body: await encodePng(imageGrid(pixels(drawn.images, config, 'nearest'), drawn.shape)), headers };
    },
    [Symbol.dispose]: () => model.dispose(),
  };
}

function disposeOnError<T>(owned: { dispose(): void }, work: () => T): T {
  try {
    return work();
  } catch (error) {
    owned.dispose();
    throw error;
  }
}

/** Seconds that the network takes for one image. */
function secondsOf(velocity: Velocity, shape: readonly number[], device: Device): number {
  const evaluate = () => {
    const start = performance.now();
    scope(() => noGrad(() => velocity(zeros([1, ...shape], { device }), ones([1], { device })).dataSync()));
    return (performance.now() - start) / 1000;
  };
  // The first evaluation includes one-time work.
  evaluate();
  return Math.min(evaluate(), evaluate());
}

async function asJson(order: Order, drawn: SampledImages, config: Config, signal: AbortSignal): Promise<string> {
  const { images, shape, nfe, leftOut } = drawn;
  const [count, height, width, channels] = shape;
  const bytes = pixels(images, config, 'nearest');
  const encoded: string[] = [];
  for (let i = 0; i < count; i++) {
    const data = bytes.slice((i * bytes.length) / count, ((i + 1) * bytes.length) / count);
    encoded.push(Buffer.from(await encodePng({ width, height, channels, data })).toString('base64'));
    await turn(signal);
  }
  const answer: SampleAnswer = { shape, nfe, ...order, steps: order.steps ?? null, leftOut, images: encoded };
  return `${JSON.stringify(answer)}\n`;
}

/** The answer to `POST /sample` with Accept: application/json. */
export interface SampleAnswer {
  /** [N, H, W, C], where N is `count` minus the number of samples left out. */
  shape: readonly number[];
  /** Network evaluations per image. */
  nfe: number;
  count: number;
  seed: number;
  sampler: string;
  /** null for rk45. */
  steps: number | null;
  /** Indices of samples that are not finite, with sampling.not_finite leave_out; otherwise these are an error. */
  leftOut: number[];
  /** Each image as a base64 PNG file. */
  images: string[];
}
