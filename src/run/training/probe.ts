// Measurements on this machine before a run: the memory and time of a training step, and of evaluations of the network.
// They run the code of real steps and samples on batches of the real size, warm, and leave the weights as they were.
import { noGrad } from '../../autograd/mode.ts';
import type { Device } from '../../device/device.ts';
import { RecordingError } from '../../errors.ts';
import { Classifier } from '../../eval/index.ts';
import { networkVelocity, rectifiedFlowLoss, replayable, withMicroBatches } from '../../flow/index.ts';
import type { Optimizer } from '../../nn/optimizer.ts';
import { empty, ones, zeros } from '../../tensor/create.ts';
import { keep, scope } from '../../tensor/scope.ts';
import { sizeOf } from '../../tensor/shape.ts';
import type { FlowNetwork } from '../arguments.ts';
import { imageShape } from '../config/schema.ts';
import type { Config } from '../config/types.ts';
import { type TimedWork, type TimeEstimate, timeBatch, timeCalls, times, total } from '../machine/timing.ts';
import { microBatchFor } from '../sampling/memory.ts';
import { DeviceBatch } from './batch.ts';
import { featuresOf } from './domains.ts';
import { flowObjective, type Objective } from './objective.ts';
import { transferObjective } from './transfer.ts';

/** Samples in the larger of the two passes that measure memory. */
const PROBED = 8;

export interface Probed {
  model: FlowNetwork;
  optimizer: Optimizer;
  config: Config;
  device: Device;
  /** What the run trains on; default: a flow from noise to images. */
  objective?: Objective;
}

/** Bytes at the peak of a training step: those of two small passes, extrapolated to `part` samples at once. */
export function stepMemory(options: Probed, part: number): number {
  const some = Math.min(part, PROBED);
  const one = peakOf(options, 1);
  const more = peakOf(options, some);
  const perSample = some > 1 ? Math.max(0, more - one) / (some - 1) : 0;
  return one + (part - 1) * perSample;
}

/** Peak bytes of a forward and backward pass. It leaves the gradients zero. */
function peakOf({ model, optimizer, config, device }: Probed, n: number): number {
  const pass = () =>
    scope(() => {
      const x = zeros([n, ...imageShape(config)], { device });
      rectifiedFlowLoss(networkVelocity(model), x, { seed: 0 }).backward();
    });
  model.train();
  pass();
  device.resetHighWater();
  pass();
  const bytes = device.memory().highWater;
  optimizer.arena.zeroGradients();
  device.resetHighWater();
  return bytes;
}

/**
 * Seconds of a training step: its parts, recorded as in training, and the optimiser's update. Time to load data is not
 * included.
 * @param memory bytes at the peak of a step
 */
export function stepTime(options: Probed, memory: number): TimeEstimate {
  const { model, optimizer, config, device } = options;
  const { batch_size: batch, accumulation } = config.training;
  using blank = options.objective ? undefined : blankObjective(options);
  const objective = options.objective ?? (blank as BlankObjective).objective;
  model.train();
  const part = timeBatch(batch / accumulation, (n) => recordedPass({ ...options, objective }, n, memory));
  const step = times(part, accumulation);
  // The activations of a step are freed by now; copies of the weights and states must fit into what they took.
  if (optimizer.stateBytes > memory) return step;
  const update = () => scope(() => optimizer.step().item());
  const updating = optimizer.rehearse(() => {
    update();
    return timeCalls(update);
  });
  device.resetHighWater();
  return total([step, updating]);
}

interface BlankObjective extends Disposable {
  objective: Objective;
}

/** The objective of a flow, on images that are zero, with a classifier of the domains that is not trained. */
function blankObjective({ model, config, device }: Probed): BlankObjective {
  const shape = imageShape(config);
  const images = new Float32Array(config.training.batch_size * sizeOf(shape));
  const batches = { imageShape: shape, batch: async () => images, labels: new Int32Array(1), count: 1 };
  const common = { model, config, device };
  if (config.training.feature_weight === 0) return { objective: flowObjective(batches, common), [Symbol.dispose]() {} };
  const { image_size: imageSize, num_channels: channels, centered } = config.data;
  const network = new Classifier({ imageSize, channels, centered }, 2, { device });
  return {
    objective: transferObjective(batches, batches, { ...common, features: featuresOf(network) }),
    [Symbol.dispose]: () => network.dispose(),
  };
}

/** A forward and backward pass over n samples, warm and recorded where the device can. */
function recordedPass(
  { model, optimizer, device, objective }: Probed & { objective: Objective },
  n: number,
  expectedBytes: number,
): TimedWork {
  const batch = new DeviceBatch(n, objective.shapes, device);
  batch.load(
    0,
    objective.shapes.map((shape) => new Float32Array(n * sizeOf(shape))),
  );
  const result = keep(empty([1], { device }));
  const { dropoutState } = model;
  const before = dropoutState.origin;
  dropoutState.origin = batch.origin;
  dropoutState.first = 0;
  const pass = () =>
    scope(() => {
      const loss = objective.loss(batch.part(0, n));
      device.copy(result.address, loss.address, 4);
      loss.backward();
    });
  pass();
  const recording = recordedOr(device, pass, expectedBytes);
  const run = () => {
    if (recording) recording.replay();
    else pass();
    // Waits for the device.
    result.dataSync();
  };
  run();
  return {
    run,
    [Symbol.dispose]() {
      recording?.[Symbol.dispose]();
      dropoutState.origin = before;
      batch[Symbol.dispose]();
      result.dispose();
      optimizer.arena.zeroGradients();
    },
  };
}

function recordedOr(device: Device, work: () => void, expectedBytes: number) {
  try {
    return device.record(work, expectedBytes);
  } catch (error) {
    if (error instanceof RecordingError) return undefined;
    throw error;
  }
}

export interface EvaluationProbe {
  /** The time of one evaluation of one sample in a batch. */
  perSample: TimeEstimate;
  /** Peak bytes of device memory. */
  memory: number;
}

/** Measures evaluations of the network as samplers make them, in batches of `batch` samples. */
export function probeEvaluation(model: FlowNetwork, config: Config, device: Device, batch: number): EvaluationProbe {
  const network = replayable(networkVelocity(model.eval()));
  const shape = imageShape(config);
  const size = microBatchFor(network, shape, { batch, budget: config.sampling.memory_budget, device });
  let memory = 0;
  const time = timeBatch(size, (n) => {
    const velocity = withMicroBatches(network, n);
    const run = () =>
      scope(() => noGrad(() => velocity(zeros([n, ...shape], { device }), ones([n], { device })).dataSync()));
    device.resetHighWater();
    // The first evaluation runs op by op, the second is recorded.
    run();
    run();
    memory = Math.max(memory, device.memory().highWater);
    return { run, [Symbol.dispose]: () => velocity[Symbol.dispose]() };
  });
  return { perSample: times(time, 1 / size), memory };
}
