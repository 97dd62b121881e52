// A folder of JPEG, PNG or WebP files, including its subfolders, as images of one size. Files that operating systems
// add, such as __MACOSX, are skipped (list_files.ts).
import { join } from 'node:path';
import { checkArgument, checkOptions, instanceOf, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { FileError } from '../errors.ts';
import type { ImageDataset } from './dataset.ts';
import { type DecodeOptions, decodedDataset, decodeOptions } from './decode.ts';
import { listFiles } from './list_files.ts';
import { splitByKey } from './split.ts';

export interface FolderOptions extends DecodeOptions {
  /** 'all': without a held-out part. */
  part: 'train' | 'heldOut' | 'all';
  /** Pattern of the file names; default: .jpg, .jpeg, .png, .webp. */
  pattern?: RegExp;
}

const imagePattern = /\.(jpe?g|png|webp)$/i;

const folderOptions: OptionKinds<FolderOptions> = {
  ...decodeOptions,
  part: oneOf(['train', 'heldOut', 'all']),
  pattern: instanceOf(RegExp, 'a RegExp'),
};

/**
 * Opens a folder of images.
 * @throws FileError if the folder has no such files; loading throws one if more files than tolerated are unreadable
 * @example
 * const photos = await openImageFolder('photos', { size: 8, channels: 3, part: 'train' });
 * [photos.height, photos.width, photos.channels]; // [8, 8, 3]
 * const pixels = await photos.load(Int32Array.of(0));
 * pixels.length; // 192
 * photos[Symbol.dispose]();
 */
export async function openImageFolder(folder: string, options: FolderOptions): Promise<ImageDataset> {
  checkArgument('openImageFolder', 'folder', folder, kinds.path);
  const required = ['part', 'size', 'channels'] as const;
  const checked = checkOptions('openImageFolder', options, folderOptions, required);
  const { part, pattern = imagePattern, ...decoding } = checked;
  const all = (await listFiles(folder, checked.notice)).filter((name) => pattern.test(name)).sort(byNumberThenName);
  if (all.length === 0) throw new FileError(folder, `has no file that matches ${pattern}`);
  const chosen = part === 'all' ? [...all.keys()] : splitByKey(folder, all.length, (i) => all[i], part);
  const paths = Array.from(chosen, (i) => join(folder, all[i]));
  const pathOf = (index: number) => paths[index];
  return decodedDataset({ path: folder, count: paths.length, nameOf: pathOf, source: pathOf }, decoding);
}

/** Sorts 2.jpg before 10.jpg. */
function byNumberThenName(a: string, b: string): number {
  const difference = Number.parseInt(a, 10) - Number.parseInt(b, 10);
  return Number.isNaN(difference) || difference === 0 ? (a < b ? -1 : 1) : difference;
}
