// One batch of CIFAR-10, 10,000 images of 32 x 32 pixels, in either of the official layouts.
//
// binary: per image  label (1 byte), 1024 red, 1024 green, 1024 blue pixels, row by row
// python: a pickle   {'data': u8 [10000, 3072], red, green, blue as above, 'labels': [10000], ..}; others have written
// the same
//                    with data of [10000, 3, 32, 32], and labels as an array
//
// Source: cs.toronto.edu/~kriz/cifar.html.
import { isWhole } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { NumpyArray, numpyGlobals } from '../io/numpy/numpy_pickle.ts';
import { unpickle } from '../io/torch/pickle.ts';

export const cifar10 = { side: 32, channels: 3, batchImages: 10_000 };

const PLANE = cifar10.side ** 2;
const IMAGE_BYTES = cifar10.channels * PLANE;
const RECORD_BYTES = 1 + IMAGE_BYTES;

/** An upper bound of a batch's file: Python 3 may write two bytes for one in protocol 2. */
export const MAX_BATCH_BYTES = 2 ** 26;

export interface Cifar10Batch {
  /** u8 [10000, 32, 32, 3] */
  images: Uint8Array;
  labels: Int32Array;
}

/** Decodes a binary batch. @throws FileError if it is truncated or damaged */
export function decodeBinaryBatch(bytes: Uint8Array, name: string): Cifar10Batch {
  const expected = cifar10.batchImages * RECORD_BYTES;
  if (bytes.length !== expected)
    throw new FileError(name, `has ${bytes.length} bytes instead of ${expected}; it is truncated or of another kind`);
  const batch = emptyBatch();
  for (let record = 0; record < cifar10.batchImages; record++) {
    const start = record * RECORD_BYTES;
    setImage(batch, record, bytes[start], bytes.subarray(start + 1, start + RECORD_BYTES), name);
  }
  return batch;
}

/** Decodes a pickled batch without running code. @throws FileError if it is truncated, damaged or of other content */
export function decodePickledBatch(bytes: Uint8Array, name: string): Cifar10Batch {
  const globals = new Map(numpyGlobals(name).map((global) => [global.name, global]));
  const { value } = unpickle(bytes, 0, { name, globals });
  const data = value instanceof Map ? value.get('data') : undefined;
  const array = data instanceof NumpyArray ? data.array : undefined;
  const { batchImages, channels, side } = cifar10;
  const shapes = [
    [batchImages, IMAGE_BYTES],
    [batchImages, channels, side, side],
  ];
  if (array?.dtype !== 'u8' || !shapes.some((shape) => shape.join() === array.shape.join()))
    throw new FileError(name, `holds no "data" of uint8 [${shapes[0].join(', ')}]; is it a batch of CIFAR-10?`);
  const labels = value instanceof Map ? listOf(value.get('labels')) : undefined;
  if (labels?.length !== batchImages)
    throw new FileError(name, `holds no list of ${batchImages} "labels"; is it a batch of CIFAR-10?`);
  const batch = emptyBatch();
  const pixels = array.data as Uint8Array;
  labels.forEach((label, i) =>
    setImage(batch, i, label, pixels.subarray(i * IMAGE_BYTES, (i + 1) * IMAGE_BYTES), name),
  );
  return batch;
}

/** The elements of a list or of a one-dimensional array. */
function listOf(value: unknown): readonly unknown[] | undefined {
  if (!(value instanceof NumpyArray)) return Array.isArray(value) ? value : undefined;
  return value.array.shape.length === 1 ? Array.from(value.array.data, Number) : undefined;
}

function emptyBatch(): Cifar10Batch {
  const { batchImages } = cifar10;
  return { images: new Uint8Array(batchImages * IMAGE_BYTES), labels: new Int32Array(batchImages) };
}

function setImage({ images, labels }: Cifar10Batch, i: number, label: unknown, planes: Uint8Array, name: string): void {
  if (!isWhole(label, 0, 9))
    throw new FileError(
      name,
      `record ${i} has label ${typeof label === 'number' ? label : 'that is not a number'}, expected 0..9`,
    );
  labels[i] = label as number;
  // Convert planes to interleaved channels.
  for (let c = 0; c < cifar10.channels; c++)
    for (let p = 0; p < PLANE; p++) images[i * IMAGE_BYTES + p * cifar10.channels + c] = planes[c * PLANE + p];
}
