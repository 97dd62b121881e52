// Images decoded when asked for, on the decoder's threads, never on JavaScript's: JPEG, PNG or WebP from a file or from
// memory to 8-bit pixels of one size, by centre square crop and antialiased bicubic, as the official LSUN pipeline does.
//
// A camera that was turned stores its pixels as they came and states the turn in EXIF. Images are turned upright, as viewers
// show them, unless `exifOrientation` is false, as PIL and torchvision read them. The small square is turned, not the large
// picture: that would have to be in memory as a whole.
import { existsSync } from 'node:fs';
import { kinds, type OptionKinds, wholeFrom } from '../arguments.ts';
import { FileError, RectiflowError } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { checkIndices, type ImageDataset } from './dataset.ts';

export interface DecodeOptions {
  size: number;
  channels: number;
  /** Whether images are turned as their EXIF orientation says, as viewers show them; false: as PIL reads them. Default true. */
  exifOrientation?: boolean;
  /** Images that may be unreadable before that is an error; default 10. */
  tolerated?: number;
  /** Told of each unreadable image. */
  notice?: (text: string) => void;
}

/** Sides that the decoder can make. */
const LARGEST = 16383;

export const decodeOptions: OptionKinds<DecodeOptions> = {
  size: wholeFrom(1, LARGEST),
  channels: kinds.count,
  exifOrientation: kinds.boolean,
  tolerated: kinds.notNegative,
  notice: kinds.callback,
};

/** Encoded images by index. */
interface EncodedImages {
  /** The folder or file that holds them. */
  path: string;
  count: number;
  /** How messages call one. */
  nameOf(index: number): string;
  /** The path of its file, or its bytes. */
  source(index: number): string | Uint8Array;
}

/**
 * A data set of encoded images.
 * @throws RectiflowError without the decoder; loading throws FileError for more unreadable images than tolerated
 */
export async function decodedDataset(images: EncodedImages, options: DecodeOptions): Promise<ImageDataset> {
  const { path, count } = images;
  const { size, channels, exifOrientation = true, tolerated = 10, notice = () => {} } = options;
  const decode = await decoder({ size, channels, exifOrientation });
  const unreadable = new Set<number>();

  const loadOne = async (index: number): Promise<Uint8Array> => {
    // Past an unreadable image the next readable one stands in, so that batches stay functions of the step.
    for (let i = index; i < index + count; i++) {
      const candidate = i % count;
      if (unreadable.has(candidate)) continue;
      const source = images.source(candidate);
      try {
        return await decode(source);
      } catch (error) {
        if (unreadable.has(candidate)) continue;
        if (!existsSync(path)) throw new FileError(path, 'is gone; bring it back, and the same command goes on');
        unreadable.add(candidate);
        const text = `${images.nameOf(candidate)} cannot be read and is left out: ${(error as Error).message}`;
        if (unreadable.size > tolerated)
          throw new FileError(path, `has more than ${tolerated} unreadable images; the last: ${text}`);
        notice(text);
      }
    }
    throw new FileError(path, 'holds no readable image');
  };

  return {
    name: path,
    count,
    height: size,
    width: size,
    channels,
    async load(indices) {
      checkIndices({ name: path, count }, indices);
      const bytes = size * size * channels;
      const pixels = new Uint8Array(indices.length * bytes);
      await Promise.all(Array.from(indices, async (index, place) => pixels.set(await loadOne(index), place * bytes)));
      return pixels;
    },
    [Symbol.dispose]() {},
  };
}

type Decode = (source: string | Uint8Array) => Promise<Uint8Array>;
type Wanted = Required<Pick<DecodeOptions, 'size' | 'channels' | 'exifOrientation'>>;

/** @throws RectiflowError saying what to install */
async function decoder({ size, channels, exifOrientation }: Wanted): Promise<Decode> {
  const { default: sharp } = await import('sharp').catch((cause) => {
    throw new RectiflowError('reading JPEG, PNG and WebP needs the package sharp: npm install sharp', { cause });
  });
  return async (source) => {
    // Read here: what was an image may be a pipe by now, for which sharp would wait.
    const bytes = typeof source === 'string' ? await readWhole(source) : source;
    const image = sharp(bytes, { failOn: 'truncated' });
    const { width, height, orientation } = await image.metadata();
    const turn = (exifOrientation && turns[orientation ?? 1]) || turns[1];
    const side = Math.min(width, height);
    // Where the rest is odd, the pixel more is cut at the right and at the bottom of what is seen.
    const left = turn.mirrorColumns ? Math.ceil((width - side) / 2) : Math.floor((width - side) / 2);
    const top = turn.mirrorRows ? Math.ceil((height - side) / 2) : Math.floor((height - side) / 2);
    const resized = image
      .extract({ left, top, width: side, height: side })
      // Shrinking while decoding is faster and another filter.
      .resize(size, size, { kernel: 'cubic', fastShrinkOnLoad: false })
      .removeAlpha()
      .toColourspace(channels === 1 ? 'b-w' : 'srgb');
    const { data, info } = await resized.raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new RectiflowError(`has ${info.channels} channels, expected ${channels}`);
    return turn === turns[1] ? data : turned(data, size, channels, turn);
  };
}

/** What is seen at (row, column) is stored at (column, row) where it is transposed, each counted from the end where mirrored. */
interface Turn {
  transpose: boolean;
  mirrorRows: boolean;
  mirrorColumns: boolean;
}

/** By the value of the tag Orientation. Source: CIPA DC-008 (Exif 2.32), 4.6.4. */
const turns: Readonly<Record<number, Turn>> = {
  1: { transpose: false, mirrorRows: false, mirrorColumns: false },
  2: { transpose: false, mirrorRows: false, mirrorColumns: true },
  3: { transpose: false, mirrorRows: true, mirrorColumns: true },
  4: { transpose: false, mirrorRows: true, mirrorColumns: false },
  5: { transpose: true, mirrorRows: false, mirrorColumns: false },
  6: { transpose: true, mirrorRows: true, mirrorColumns: false },
  7: { transpose: true, mirrorRows: true, mirrorColumns: true },
  8: { transpose: true, mirrorRows: false, mirrorColumns: true },
};

/** A square u8 [size, size, channels] as it is to be seen. */
function turned(stored: Uint8Array, size: number, channels: number, turn: Turn): Uint8Array {
  const seen = new Uint8Array(stored.length);
  const last = size - 1;
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const [row, column] = turn.transpose ? [x, y] : [y, x];
      const from = (turn.mirrorRows ? last - row : row) * size + (turn.mirrorColumns ? last - column : column);
      for (let c = 0; c < channels; c++) seen[(y * size + x) * channels + c] = stored[from * channels + c];
    }
  return seen;
}
