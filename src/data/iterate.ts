// Batches of a data set as tensors, for a loop of training or evaluation. The order of an epoch is a function of seed and
// epoch, so repeated runs are bit-identical.
import {
  checkArgument,
  checkOptions,
  describeValue,
  isWhole,
  kind,
  kinds,
  type OptionKinds,
  refuseInert,
} from '../arguments.ts';
import { type Device, deviceKind } from '../device/device.ts';
import { ArgumentError, ValueError } from '../errors.ts';
import { tensor } from '../tensor/create.ts';
import { openScope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { turn } from '../turn.ts';
import type { ArrayDataset, Rows } from './arrays.ts';
import { datasetKind, type ImageDataset } from './dataset.ts';
import { scalePixels } from './scaling.ts';
import { shuffledIndex } from './shuffle.ts';

/** The place of a batch in the iteration. */
export interface BatchPlace {
  /** From 0. */
  epoch: number;
  /** Number of batches before it, over all epochs. */
  step: number;
  /** i32, the indices of its items in the data set. */
  indices: Int32Array;
}

export interface BatchesOptions<Tensors, Batch> {
  /** Items of a batch. The last batch of an epoch holds what is left. */
  size: number;
  /** Whether each epoch has a new order; default false: the order of the data set. */
  shuffle?: boolean;
  /** Seed of that order; default 0. */
  seed?: number;
  /** Passes over the data set, a whole number or Infinity; default 1. */
  epochs?: number;
  /** Whether to leave out the last batch of an epoch if it has fewer items; default false. */
  dropLast?: boolean;
  /** Computes what a batch is from its tensors; other tensors that it makes are freed. */
  map?: (tensors: Tensors, place: BatchPlace) => Batch;
  /** Default: the device opened first. */
  device?: Device;
}

/** The tensors of images: f32 [B, H, W, C] in [0, 1], and i32 [B] if the data set has labels. */
export type ImageTensors<Data extends ImageDataset> = { images: Tensor } & (Data extends { labels: Int32Array }
  ? { labels: Tensor }
  : { labels?: Tensor });

const batchesOptions: OptionKinds<BatchesOptions<unknown, unknown>> = {
  size: kinds.int32Count,
  shuffle: kinds.boolean,
  seed: kinds.whole,
  epochs: kind('a whole number >= 1 or Infinity', (v) => isWhole(v, 1) || v === Number.POSITIVE_INFINITY),
  dropLast: kinds.boolean,
  map: kinds.callback,
  device: deviceKind,
};

const arraysKind = kind('a data set { count, load }', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { count, load } = value as ArrayDataset;
  return kinds.count.accepts(count) && kinds.callback.accepts(load);
});

/** Batches in order; each `for await` begins anew. */
export interface Batches<Batch> extends AsyncIterable<Batch> {
  /** Number of batches of all epochs. */
  readonly steps: number;
}

/**
 * Iterates over a data set in batches of tensors. The tensors of a batch are freed when the next one is requested and
 * when the loop ends, unless `keep` took them. Images are scaled to [0, 1].
 * @param dataset images, arrays (`arrayDataset`, `loadCsv`), or an object with `count` and `load` like theirs
 * @throws ArgumentError; ValueError if `dropLast` leaves no batch
 * @example
 * const digits = await digitsDataset('heldOut');
 * const data = batches(digits, { size: 100, shuffle: true, seed: 1 });
 * data.steps; // 4
 * const sizes = [];
 * for await (const { images, labels } of data) sizes.push([images.shape[0], labels.size]);
 * sizes; // [[100, 100], [100, 100], [100, 100], [97, 97]]
 */
export function batches<Data extends ImageDataset, Batch = ImageTensors<Data>>(
  dataset: Data,
  options: BatchesOptions<ImageTensors<Data>, Batch>,
): Batches<Batch>;
export function batches<Name extends string, Batch = Record<Name, Tensor>>(
  dataset: ArrayDataset<Name>,
  options: BatchesOptions<Record<Name, Tensor>, Batch>,
): Batches<Batch>;
export function batches(
  dataset: ImageDataset | ArrayDataset,
  options: BatchesOptions<never, unknown>,
): Batches<unknown> {
  checkArgument('batches', 'dataset', dataset, arraysKind);
  const given = options as BatchesOptions<Record<string, Tensor>, unknown>;
  const checked = checkOptions('batches', given, batchesOptions, ['size']);
  const { size, shuffle = false, epochs = 1, dropLast = false } = checked;
  if (!shuffle) refuseInert('batches', checked, ['seed'], 'without shuffle');
  const { count } = dataset;
  const perEpoch = dropLast ? Math.floor(count / size) : Math.ceil(count / size);
  if (perEpoch === 0) throw new ValueError(`[batches] expected a size of at most ${count} with dropLast, got ${size}`);
  const { seed = 0, map = (tensors) => tensors, device } = checked;
  return {
    steps: perEpoch * epochs,
    async *[Symbol.asyncIterator]() {
      for (let epoch = 0; epoch < epochs; epoch++)
        for (let batch = 0; batch < perEpoch; batch++) {
          const first = batch * size;
          const indices = Int32Array.from({ length: Math.min(size, count - first) }, (_, i) =>
            shuffle ? shuffledIndex(first + i, count, epoch, seed) : first + i,
          );
          const fields = await fieldsOf(dataset, indices);
          // Lets signals and timers run, because the work on a batch blocks the event loop.
          await turn();
          using work = openScope();
          yield work.run(() => {
            const tensors = Object.entries(fields).map(([name, rows]) => [name, tensorOf(name, rows, device)]);
            return map(Object.fromEntries(tensors), { epoch, step: epoch * perEpoch + batch, indices });
          });
        }
    },
  };
}

/** The chosen rows of each field. @throws ArgumentError for a wrong result of the data set */
async function fieldsOf(dataset: ImageDataset | ArrayDataset, indices: Int32Array): Promise<Record<string, Rows>> {
  const loaded: unknown = await dataset.load(indices);
  if (!datasetKind.accepts(dataset)) {
    checkArgument('dataset.load', 'its result', loaded, kinds.object);
    return loaded as Record<string, Rows>;
  }
  const { height, width, channels, labels } = dataset as ImageDataset;
  const [bytes, shape] = [loaded as Uint8Array, [indices.length, height, width, channels]];
  const expected = indices.length * height * width * channels;
  if (!kinds.bytes.accepts(bytes) || bytes.length !== expected)
    throw new ArgumentError('dataset.load', `${indices.length} images, ${expected} bytes`, describeValue(bytes));
  const images = { data: scalePixels(bytes, { centered: false }), shape };
  return labels ? { images, labels: { data: indices.map((i) => labels[i]), shape: [indices.length] } } : { images };
}

function tensorOf(name: string, rows: Rows, device: Device | undefined): Tensor {
  checkArgument('dataset.load', `field "${name}"`, rows, kinds.object);
  const { data, shape } = rows;
  const dtype = data instanceof Int32Array ? 'i32' : data instanceof Uint8Array ? 'u8' : 'f32';
  return tensor(data, { shape, dtype, device });
}
