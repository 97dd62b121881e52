// Handwritten digits, 1797 grey images of 8 x 8, shipped with the package: real data for a first run in minutes.
//
// pixel = round(value * 255 / 16), value 0..16 as in the file
//
// Source: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
// CC BY 4.0 (assets/digits/LICENSE.md).
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { FileError } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { type ImageDataset, memoryDataset } from './dataset.ts';

const count = 1797;
const trainCount = 1400;
const side = 8;
const pixelCount = side * side;
const maxTextBytes = 2 ** 20;

export interface Digits {
  /** u8 [1797, 8, 8, 1], 0 paper to 255 ink. */
  images: Uint8Array;
  /** i32 [1797], 0 to 9. */
  labels: Int32Array;
  /** The first 1400 images are for training, */
  trainCount: number;
  /** the last 397 are held out. */
  heldOutCount: number;
}

/** @throws FileError when the package's own file is missing or damaged */
export async function loadDigits(): Promise<Digits> {
  // The same two steps up from src/data and from dist/data.
  const path = fileURLToPath(new URL('../../assets/digits/digits.csv.gz', import.meta.url));
  return parseDigits(await readWhole(path, maxTextBytes), path);
}

/** Training or held-out digits as a data set. @throws FileError as loadDigits */
export async function digitsDataset(part: 'train' | 'heldOut'): Promise<ImageDataset> {
  const { images, labels } = await loadDigits();
  const [start, end] = part === 'train' ? [0, trainCount] : [trainCount, count];
  return memoryDataset(
    part === 'train' ? 'digits' : 'digits, held out',
    images.subarray(start * pixelCount, end * pixelCount),
    [end - start, side, side, 1],
    labels.subarray(start, end),
  );
}

/** Reads gzipped lines of 64 values 0..16 and a label 0..9. @throws FileError that names the first wrong line */
export function parseDigits(bytes: Uint8Array, path: string): Digits {
  let text: string;
  try {
    text = gunzipSync(bytes, { maxOutputLength: maxTextBytes }).toString('latin1');
  } catch (error) {
    throw new FileError(path, `cannot be unpacked: ${(error as Error).message}; install the package again`);
  }
  const lines = text.trimEnd().split('\n');
  if (lines.length !== count) throw new FileError(path, `has ${lines.length} lines instead of ${count}`);
  const images = new Uint8Array(count * pixelCount);
  const labels = new Int32Array(count);
  lines.forEach((line, i) => {
    const values = /^\d{1,2}(,\d{1,2}){64}$/.test(line) ? line.split(',').map(Number) : [];
    const label = values.pop() ?? Number.NaN;
    if (!(label <= 9) || !values.every((value) => value <= 16))
      throw new FileError(path, `line ${i + 1} is not 64 values 0..16 and a label 0..9`);
    labels[i] = label;
    values.forEach((value, j) => {
      images[i * pixelCount + j] = Math.round((value * 255) / 16);
    });
  });
  return { images, labels, trainCount, heldOutCount: count - trainCount };
}
