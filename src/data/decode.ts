// Images decoded when asked for, on the decoder's threads, never on JavaScript's: JPEG, PNG or WebP from a file or from
// memory to 8-bit pixels of one size, by centre square crop and antialiased bicubic, as the official LSUN pipeline does.
import { existsSync } from 'node:fs';
import { kind, kinds, type OptionKinds } from '../arguments.ts';
import { FileError, RectiflowError } from '../errors.ts';
import { checkIndices, type ImageDataset } from './dataset.ts';

export interface DecodeOptions {
  size: number;
  channels: number;
  /** Images that may be unreadable before that is an error; default 10. */
  tolerated?: number;
  /** Told of each unreadable image. */
  notice?: (text: string) => void;
}

/** Sides that the decoder can make. */
const LARGEST = 16383;

export const decodeOptions: OptionKinds<DecodeOptions> = {
  size: kind(`a whole number from 1 to ${LARGEST}`, (v) => kinds.count.accepts(v) && (v as number) <= LARGEST),
  channels: kinds.count,
  tolerated: kinds.notNegative,
  notice: kinds.callback,
};

/** Encoded images by index. */
export interface EncodedImages {
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
  const { size, channels, tolerated = 10, notice = () => {} } = options;
  const decode = await decoder();
  const unreadable = new Set<number>();

  const loadOne = async (index: number): Promise<Uint8Array> => {
    // Past an unreadable image the next readable one stands in, so that batches stay functions of the step.
    for (let i = index; i < index + count; i++) {
      const candidate = i % count;
      if (unreadable.has(candidate)) continue;
      const source = images.source(candidate);
      try {
        return await decode(source, size, channels);
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
  };
}

type Decode = (source: string | Uint8Array, size: number, channels: number) => Promise<Uint8Array>;

/** @throws RectiflowError saying what to install */
async function decoder(): Promise<Decode> {
  const { default: sharp } = await import('sharp').catch((cause) => {
    throw new RectiflowError('reading JPEG, PNG and WebP needs the package sharp: npm install sharp', { cause });
  });
  return async (source, size, channels) => {
    const image = sharp(source, { failOn: 'truncated' });
    const { width, height } = await image.metadata();
    const side = Math.min(width, height);
    const left = Math.floor((width - side) / 2);
    const top = Math.floor((height - side) / 2);
    const resized = image
      .extract({ left, top, width: side, height: side })
      // Shrinking while decoding is faster and another filter.
      .resize(size, size, { kernel: 'cubic', fastShrinkOnLoad: false })
      .removeAlpha()
      .toColourspace(channels === 1 ? 'b-w' : 'srgb');
    const { data, info } = await resized.raw().toBuffer({ resolveWithObject: true });
    if (info.channels !== channels) throw new RectiflowError(`has ${info.channels} channels, expected ${channels}`);
    return data;
  };
}
