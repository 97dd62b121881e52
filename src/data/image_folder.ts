// A folder of JPEG, PNG or WebP files as images of one size: centre square crop, then antialiased bicubic, as the official
// LSUN pipeline does. Files are decoded when asked for, on the threads of the decoder, never on JavaScript's.
//
// Held out: the twentieth part with the smallest hashes of their names, at least one; the rest trains.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError, RectiflowError } from '../errors.ts';
import { asFileError } from '../io/index.ts';
import type { ImageDataset } from './dataset.ts';

export interface FolderOptions {
  size: number;
  channels: number;
  part: 'train' | 'heldOut';
  /** Which files, by name; default: .jpg, .jpeg, .png, .webp. */
  pattern?: RegExp;
  /** Files that may be unreadable before that is an error; default 10. */
  tolerated?: number;
  /** Told of each unreadable file. */
  notice?: (text: string) => void;
}

const HELD_OUT = 20;
const imagePattern = /\.(jpe?g|png|webp)$/i;

/** @throws FileError for a folder without such files; loading throws one for more unreadable files than tolerated */
export async function openImageFolder(folder: string, options: FolderOptions): Promise<ImageDataset> {
  const { size, channels, part, pattern = imagePattern, tolerated = 10, notice = () => {} } = options;
  const all = (await list(folder)).filter((name) => pattern.test(name)).sort(byNumberThenName);
  if (all.length === 0) throw new FileError(folder, `holds no file that fits ${pattern}`);
  const held = heldOut(all);
  const names = all.filter((name) => held.has(name) === (part === 'heldOut'));
  if (names.length === 0)
    throw new FileError(folder, `holds ${all.length} image, too few for a training and a held-out part`);
  const decode = await decoder();
  const unreadable = new Set<string>();

  const loadOne = async (index: number): Promise<Uint8Array> => {
    // Past an unreadable file the next readable one stands in, so that batches stay functions of the step.
    for (let i = index; i < index + names.length; i++) {
      const name = names[i % names.length];
      if (unreadable.has(name)) continue;
      try {
        return await decode(join(folder, name), size, channels);
      } catch (error) {
        if (unreadable.has(name)) continue;
        if (!existsSync(folder)) throw new FileError(folder, 'is gone; bring it back, and the same command goes on');
        unreadable.add(name);
        const text = `${join(folder, name)} cannot be read and is left out: ${(error as Error).message}`;
        if (unreadable.size > tolerated)
          throw new FileError(folder, `has more than ${tolerated} unreadable images; the last: ${text}`);
        notice(text);
      }
    }
    throw new FileError(folder, 'holds no readable image');
  };

  return {
    name: folder,
    count: names.length,
    height: size,
    width: size,
    channels,
    async load(indices) {
      const bytes = size * size * channels;
      const images = new Uint8Array(indices.length * bytes);
      await Promise.all(Array.from(indices, async (index, place) => images.set(await loadOne(index), place * bytes)));
      return images;
    },
  };
}

/** Names of files, those of subfolders with their path. */
async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder, { recursive: true })).map((name) => name.replaceAll('\\', '/'));
  } catch (error) {
    throw asFileError(folder, error);
  }
}

/** 2.jpg before 10.jpg. */
function byNumberThenName(a: string, b: string): number {
  const difference = Number.parseInt(a, 10) - Number.parseInt(b, 10);
  return Number.isNaN(difference) || difference === 0 ? (a < b ? -1 : 1) : difference;
}

function heldOut(names: readonly string[]): Set<string> {
  const hash = (name: string) => createHash('sha256').update(name).digest('hex');
  const count = names.length < 2 ? 0 : Math.ceil(names.length / HELD_OUT);
  const ranked = names.map((name) => [hash(name), name] as const).sort(([a], [b]) => (a < b ? -1 : 1));
  return new Set(ranked.slice(0, count).map(([, name]) => name));
}

type Decode = (path: string, size: number, channels: number) => Promise<Uint8Array>;

/** @throws RectiflowError saying what to install */
async function decoder(): Promise<Decode> {
  const { default: sharp } = await import('sharp').catch((cause) => {
    throw new RectiflowError('reading JPEG, PNG and WebP needs the package sharp: npm install sharp', { cause });
  });
  return async (path, size, channels) => {
    const image = sharp(path, { failOn: 'truncated' });
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
