// The evaluation loss: the training objective over held-out images. Noise and time depend on the index of the image
// only, so two evaluations of one model are bit-identical, and different models see the same draws.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { datasetKind } from '../../data/dataset.ts';
import { type ImageDataset, sequentialBatch } from '../../data/index.ts';
import type { Device } from '../../device/device.ts';
import { Draw, type FeatureMap, featureErrors, interpolate } from '../../flow/index.ts';
import { square, sub } from '../../kernels/elementwise.ts';
import { mean } from '../../kernels/reduce.ts';
import { tensor } from '../../tensor/create.ts';
import { scope } from '../../tensor/scope.ts';
import { streams } from '../../tensor/streams.ts';
import { turn } from '../../turn.ts';
import { type FlowNetwork, runOptions, unetKind } from '../arguments.ts';
import { captionsOf } from '../captions/captions.ts';
import { sampledVelocity } from '../captions/velocity.ts';
import { requireConfig } from '../config/require.ts';
import type { Config } from '../config/types.ts';
import { computeBatches } from '../ranks/batches.ts';
import { type Ranks, ranksKind } from '../ranks/ranks.ts';
import { isTransfer, loadSource, startsFrom } from '../source.ts';

/** Number of equal intervals of [0, 1] that losses are reported by. */
export const TIME_BUCKETS = 10;

/** Number of batches in an evaluation during training. */
export const EVALUATED_BATCHES = 4;

export interface Evaluation {
  /** Mean loss over images, reduced as training.reduce_mean says. */
  loss: number;
  images: number;
  /** Mean loss of the images whose time is in [k / 10, (k + 1) / 10); NaN if there is none. */
  byTime: number[];
  /** With training.feature_weight: mean squared error in the features, |J (x_1 - x_0 - v)|^2 / K. */
  features?: number;
  /** Mean loss of each batch, in order. */
  batches: number[];
}

interface EvaluateOptions {
  device: Device;
  /** Images per batch; the last batch may be smaller. */
  batchSize: number;
  /** The images that paths of a domain transfer start from; default: the held-out part of the source. */
  source?: ImageDataset;
  /** Features of the domains, in which the error is also measured. */
  features?: FeatureMap;
  /** Largest number of images, from the first one; default: all. */
  images?: number;
  /** The processes of a job, which evaluate batches in turns. The first gets the result, the others one of no images. */
  ranks?: Ranks;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number) => void;
}

const optionKinds: OptionKinds<EvaluateOptions> = {
  device: runOptions.device,
  batchSize: kinds.int32Count,
  source: datasetKind,
  features: kinds.callback,
  images: kinds.count,
  ranks: ranksKind,
  signal: runOptions.signal,
  onProgress: runOptions.onProgress,
};

/**
 * The training loss of the weights that `model` holds now over images of a data set. Noise and time depend on the number of the image
 * alone, so two evaluations of one model give the same bits.
 * @throws FileError for images that cannot be read; the signal's reason when aborted
 * @example
 * const device = await openDevice('cpu');
 * const config = await loadConfig('runs/digits/config.json');
 * const { model } = await loadModel('runs/digits/checkpoints/checkpoint_1.safetensors', config, { device });
 * const heldOut = await loadDataset(config, 'heldOut');
 * const { loss, images } = await evaluationLoss(model, heldOut, config, { device, batchSize: 16, images: 32 });
 * images; // 32
 * loss > 0; // true
 */
export async function evaluationLoss(
  model: FlowNetwork,
  dataset: ImageDataset,
  config: Config,
  options: EvaluateOptions,
): Promise<Evaluation> {
  checkArgument('evaluationLoss', 'model', model, unetKind);
  checkArgument('evaluationLoss', 'dataset', dataset, datasetKind);
  requireConfig('evaluationLoss', config);
  const checked = checkOptions('evaluationLoss', options, optionKinds, ['device', 'batchSize']);
  const { device, batchSize, ranks, signal, onProgress } = checked;
  const total = Math.min(dataset.count, checked.images ?? dataset.count);
  using opened = isTransfer(config) && !checked.source ? await loadSource(config, 'heldOut') : undefined;
  const source = checked.source ?? opened;
  const captions = captionsOf(config);
  const sums = new Float64Array(TIME_BUCKETS);
  const counts = new Float64Array(TIME_BUCKETS);
  const batches: number[] = [];
  const { features } = checked;
  let inFeatures = 0;
  const training = model.training;
  // Mean over dimensions, or half their sum.
  const scale = config.training.reduce_mean ? 1 : (dataset.height * dataset.width * dataset.channels) / 2;
  model.eval();
  const evaluate = async (first: number, stop: AbortSignal | undefined) => {
    await turn(stop);
    const n = Math.min(batchSize, total - first);
    const { images, labels } = await sequentialBatch(dataset, first, n, { centered: config.data.centered });
    const texts = captions && labels && Array.from(labels, (label) => captions.table[label + 1]);
    const request = { first, num: n, stream: streams.evaluation };
    const starts = source && (await startsFrom(source, config, request));
    using velocity = sampledVelocity(model, config, { count: n, texts });
    return scope(() =>
      noGrad(() => {
        const draw = new Draw({ seed: config.seed, first, device });
        const x1 = tensor(images, { shape: [n, dataset.height, dataset.width, dataset.channels], device });
        const x0 = starts ? tensor(starts, { shape: x1.shape, device }) : draw.normal(x1.shape, streams.evaluation);
        const t = draw.times(n, { stream: streams.evaluationTimes });
        const v = velocity(interpolate(x0, x1, t), t);
        const errors = square(sub(v, sub(x1, x0)));
        const losses = Float64Array.from(mean(errors, { axes: [1, 2, 3] }).dataSync(), (value) => scale * value);
        const errorsInFeatures = features ? mean(square(featureErrors(features, v, x0, x1, t))).item() : 0;
        return { losses, times: Float64Array.from(t.dataSync()), inFeatures: Float64Array.of(errorsInFeatures) };
      }),
    );
  };
  try {
    const firsts = Array.from({ length: Math.ceil(total / batchSize) }, (_, i) => i * batchSize);
    for await (const [first, found] of computeBatches(firsts, evaluate, { ranks, signal })) {
      const { losses, times } = found;
      const n = losses.length;
      inFeatures += n * found.inFeatures[0];
      for (let i = 0; i < n; i++) {
        const bucket = Math.min(TIME_BUCKETS - 1, Math.floor(times[i] * TIME_BUCKETS));
        sums[bucket] += losses[i];
        counts[bucket]++;
      }
      batches.push(losses.reduce((a, b) => a + b, 0) / n);
      onProgress?.(first + n, total);
    }
  } finally {
    model.train(training);
  }
  const loss = sums.reduce((a, b) => a + b, 0) / total;
  return {
    loss,
    images: total,
    byTime: Array.from(sums, (sum, k) => sum / counts[k]),
    ...(features && { features: inFeatures / total }),
    batches,
  };
}
