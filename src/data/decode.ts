// Decodes images on demand, on the decoder's threads rather than the JavaScript thread: JPEG, PNG or WebP from a file
// or from memory, to 8-bit pixels of one size, by a centre square crop and antialiased bicubic resampling, as the
// official LSUN pipeline does.
//
// A rotated camera stores its pixels unrotated and records the rotation in EXIF. Images are rotated upright, as viewers
// show them, unless `exifOrientation` is false, as PIL and torchvision read them. The resized square is rotated,
// because the full picture would have to be in memory as a whole.
import { existsSync } from 'node:fs';
import { kinds, type OptionKinds, wholeFrom } from '../arguments.ts';
import { FileError, RectiflowError } from '../errors.ts';
import { readWhole } from '../io/file.ts';
import { checkIndices, type ImageDataset } from './dataset.ts';

export interface DecodeOptions {
  size: number;
  channels: number;
  /** Whether to apply the EXIF orientation, as viewers do; false reads images as PIL does. Default true. */
  exifOrientation?: boolean;
  /** Number of unreadable images that are tolerated; one more is an error. Default 10. */
  tolerated?: number;
  /** Called with a message for each unreadable image. */
  notice?: (text: string) => void;
}

/** The largest side that the decoder supports, in pixels. */
const LARGEST = 16383;

export const decodeOptions: OptionKinds<DecodeOptions> = {
  size: wholeFrom(1, LARGEST),
  channels: kinds.count,
  exifOrientation: kinds.boolean,
  tolerated: kinds.notNegative,
  notice: kinds.callback,
};

/** A source of encoded images, by index. */
interface EncodedImages {
  /** The folder or file that holds them. */
  path: string;
  count: number;
  /** The name of an image in messages. */
  nameOf(index: number): string;
  /** The path of an image's file, or its bytes. */
  source(index: number): string | Uint8Array;
}

/**
 * Creates a data set of encoded images.
 * @throws RectiflowError if the decoder is not installed; loading throws FileError if more images than tolerated are
 * unreadable
 */
export async function decodedDataset(images: EncodedImages, options: DecodeOptions): Promise<ImageDataset> {
  const { path, count } = images;
  const { size, channels, exifOrientation = true, tolerated = 10, notice = () => {} } = options;
  const decode = await decoder({ size, channels, exifOrientation });
  const unreadable = new Set<number>();

  const loadOne = async (index: number): Promise<Uint8Array> => {
    // The next readable image replaces an unreadable one, so that batches remain functions of the step.
    for (let i = index; i < index + count; i++) {
      const candidate = i % count;
      if (unreadable.has(candidate)) continue;
      const source = images.source(candidate);
      try {
        return await decode(source);
      } catch (error) {
        if (unreadable.has(candidate)) continue;
        if (!existsSync(path))
          throw new FileError(path, 'no longer exists; restore it and run the same command to resume');
        unreadable.add(candidate);
        const text = `${images.nameOf(candidate)} cannot be read and is skipped: ${(error as Error).message}`;
        if (unreadable.size > tolerated)
          throw new FileError(path, `has more than ${tolerated} unreadable images; the last: ${text}`);
        notice(text);
      }
    }
    throw new FileError(path, 'has no readable image');
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

/** @throws RectiflowError with the command that installs the decoder */
async function decoder({ size, channels, exifOrientation }: Wanted): Promise<Decode> {
  const { default: sharp } = await import('sharp').catch((cause) => {
    throw new RectiflowError('reading JPEG, PNG and WebP needs the package sharp: npm install sharp', { cause });
  });
  return async (source) => {
    // Read the file here: by now the path may be a pipe, on which sharp would block.
    const bytes = typeof source === 'string' ? await readWhole(source) : source;
    const image = sharp(bytes, { failOn: 'truncated' });
    const { width, height, orientation } = await image.metadata();
    const turn = (exifOrientation && turns[orientation ?? 1]) || turns[1];
    const side = Math.min(width, height);
    // If the margin is odd, the extra pixel is cut at the right and at the bottom of the upright image.
    const left = turn.mirrorColumns ? Math.ceil((width - side) / 2) : Math.floor((width - side) / 2);
    const top = turn.mirrorRows ? Math.ceil((height - side) / 2) : Math.floor((height - side) / 2);
    const resized = image
      .extract({ left, top, width: side, height: side })
      // Shrink-on-load would be faster, but it is a different filter.
      .resize(size, size, { kernel: 'cubic', fastShrinkOnLoad: false })
      .removeAlpha()
      .toColourspace(channels === 1 ? 'b-w' : 'srgb');
    const { data, info } = await resized.raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new RectiflowError(`has ${info.channels} channels, expected ${channels}`);
    return turn === turns[1] ? data : turnUpright(data, size, channels, turn);
  };
}

/**
 * The pixel (row, column) of the upright image is stored at (column, row) if `transpose` is set; mirrored coordinates
 * count from the end.
 */
interface Turn {
  transpose: boolean;
  mirrorRows: boolean;
  mirrorColumns: boolean;
}

/** Turns by the value of the EXIF tag Orientation. Source: CIPA DC-008 (Exif 2.32), 4.6.4. */
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

/** Turns a square image, u8 [size, size, channels], upright. */
function turnUpright(stored: Uint8Array, size: number, channels: number, turn: Turn): Uint8Array {
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
