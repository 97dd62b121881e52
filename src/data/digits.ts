// Handwritten digits, 1797 grey 8 x 8 images shipped with the package: real data for a first run that takes minutes.
//
// pixel = round(value * 255 / 16), with value 0..16 as in the file
//
// The file is ordered by writer. The held-out digits are spread evenly over it, so that both parts contain every
// writer: digit i is held out if floor((i + 1) 397 / 1797) > floor(i 397 / 1797).
//
// Source: Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998,
// CC BY 4.0 (assets/digits/LICENSE.md).
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { checkArgument, oneOf, refuseExtra } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { type LabelledImages, memoryDataset, partKind } from './dataset.ts';

const COUNT = 1797;
const HELD_OUT_COUNT = 397;
const SIDE = 8;
const PIXEL_COUNT = SIDE * SIDE;
const MAX_TEXT_BYTES = 2 ** 20;

export interface Digits {
  /** u8 [1797, 8, 8, 1], from 0 (paper) to 255 (ink). */
  images: Uint8Array;
  /** i32 [1797], 0 to 9. */
  labels: Int32Array;
}

/**
 * Loads all digits.
 * @throws FileError if the package's own file is missing or damaged
 * @example
 * const { images, labels } = await loadDigits();
 * images.length; // 115008
 * labels.subarray(0, 5); // [0, 1, 2, 3, 4]
 */
export function loadDigits(): Promise<Digits>;
export async function loadDigits(...extra: unknown[]): Promise<Digits> {
  refuseExtra('loadDigits', extra);
  // The package root is two levels up from both src/data and dist/data.
  const path = fileURLToPath(new URL('../../assets/digits/digits.csv.gz', import.meta.url));
  return parseDigits(await readWhole(path, MAX_TEXT_BYTES), path);
}

/** The first digit of each half of the file, and where it ends. */
const halves = { whole: [0, COUNT], first: [0, 898], second: [898, COUNT] } as const;

/**
 * The 1400 training digits or the 397 held-out digits as a data set, or those of one half of the file: digits 1 to 898 are the first
 * one.
 * @throws FileError as loadDigits
 * @example
 * const digits = await digitsDataset('train');
 * [digits.count, digits.height, digits.width, digits.channels]; // [1400, 8, 8, 1]
 */
export function digitsDataset(part: 'train' | 'heldOut', half?: keyof typeof halves): Promise<LabelledImages>;
export async function digitsDataset(
  part: 'train' | 'heldOut',
  half: keyof typeof halves = 'whole',
  ...extra: unknown[]
): Promise<LabelledImages> {
  refuseExtra('digitsDataset', extra);
  checkArgument('digitsDataset', 'part', part, partKind);
  checkArgument('digitsDataset', 'half', half, oneOf(Object.keys(halves)));
  const [first, end] = halves[half];
  const { images, labels } = await loadDigits();
  const members = Array.from({ length: end - first }, (_, i) => first + i).filter(
    (i) => isHeldOut(i) === (part === 'heldOut'),
  );
  const chosen = new Uint8Array(members.length * PIXEL_COUNT);
  members.forEach((i, place) => {
    chosen.set(images.subarray(i * PIXEL_COUNT, (i + 1) * PIXEL_COUNT), place * PIXEL_COUNT);
  });
  const of = half === 'whole' ? 'digits' : `digits, ${half} half`;
  const name = part === 'train' ? of : `${of}, held out`;
  return memoryDataset(
    name,
    chosen,
    [members.length, SIDE, SIDE, 1],
    Int32Array.from(members, (i) => labels[i]),
  );
}

function isHeldOut(i: number): boolean {
  return Math.floor(((i + 1) * HELD_OUT_COUNT) / COUNT) > Math.floor((i * HELD_OUT_COUNT) / COUNT);
}

/** Parses gzipped lines of 64 values 0..16 and a label 0..9. @throws FileError with the first invalid line */
export function parseDigits(bytes: Uint8Array, path: string): Digits {
  let text: string;
  try {
    text = gunzipSync(bytes, { maxOutputLength: MAX_TEXT_BYTES }).toString('latin1');
  } catch (error) {
    throw new FileError(path, `cannot be unpacked: ${(error as Error).message}; reinstall the package`);
  }
  const lines = text.trimEnd().split('\n');
  if (lines.length !== COUNT) throw new FileError(path, `has ${lines.length} lines instead of ${COUNT}`);
  const images = new Uint8Array(COUNT * PIXEL_COUNT);
  const labels = new Int32Array(COUNT);
  lines.forEach((line, i) => {
    const values = /^\d{1,2}(,\d{1,2}){64}$/.test(line) ? line.split(',').map(Number) : [];
    const label = values.pop() ?? Number.NaN;
    if (!(label <= 9) || !values.every((value) => value <= 16))
      throw new FileError(path, `line ${i + 1} is not 64 values 0..16 and a label 0..9`);
    labels[i] = label;
    values.forEach((value, j) => {
      images[i * PIXEL_COUNT + j] = Math.round((value * 255) / 16);
    });
  });
  return { images, labels };
}
