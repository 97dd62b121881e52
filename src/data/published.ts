// Folders of images as their authors publish them, unpacked:
//   AFHQ      train/<cat|dog|wild>/*.jpg or .png; held out: val/ (version 1) or test/ (version 2). Choi et al. 2020
//   MetFaces  images/*.png; held out: a twentieth (split.ts). Karras et al. 2020
//   CelebA    img_align_celeba/000001.jpg, ...; held out: a twentieth. Liu et al. 2015
// The folder may be the one that contains these, or the folder of the data set in it.
import { checkArguments, kinds, oneOf } from '../arguments.ts';
import { FileError } from '../errors.ts';
import type { ImageDataset } from './dataset.ts';
import { type FolderOptions, openImageFolder } from './image_folder.ts';
import { describeLack, Listing } from './listing.ts';

/** The species of AFHQ. */
export const afhqCategories = ['cat', 'dog', 'wild'] as const;

/** @throws FileError for a root without any of these folders */
async function folderIn(root: string, names: readonly string[]): Promise<string> {
  const [found] = (await (await Listing.of(root))?.folders(names)) ?? [];
  if (found) return found.path;
  throw new FileError(
    root,
    `${await describeLack(root)} ${names.join(', ')}; give the folder that contains one of them`,
  );
}

/**
 * Opens one species of AFHQ.
 * @param root the folder that contains train/ and val/ or test/, or the folder around that
 * @throws FileError for a root without that part and species, or without images there
 * @example
 * import { mkdirSync, copyFileSync, readdirSync } from 'node:fs';
 *
 * mkdirSync('afhq/train/cat', { recursive: true });
 * for (const name of readdirSync('photos')) copyFileSync(`photos/${name}`, `afhq/train/cat/${name}`);
 * const cats = await openAfhq('.', 'cat', { size: 8, channels: 3, part: 'train' });
 * cats.count >= 1; // true
 */
export async function openAfhq(
  root: string,
  category: (typeof afhqCategories)[number],
  options: FolderOptions & { part: 'train' | 'heldOut' },
): Promise<ImageDataset> {
  checkArguments('openAfhq', {
    root: [root, kinds.path],
    category: [category, oneOf(afhqCategories)],
    options: [options, kinds.object],
  });
  const parts = options.part === 'heldOut' ? ['val', 'test'] : ['train'];
  const places = ['', 'afhq/', 'afhq_v2/'].flatMap((above) => parts.map((part) => `${above}${part}/${category}`));
  return openImageFolder(await folderIn(root, places), { ...options, part: 'all' });
}

/**
 * Opens MetFaces.
 * @param root the folder that contains images/, or the folder around that
 * @throws FileError for a root without that folder, or without images there
 * @example
 * import { mkdirSync, copyFileSync, readdirSync } from 'node:fs';
 *
 * mkdirSync('metfaces/images', { recursive: true });
 * for (const name of readdirSync('photos')) copyFileSync(`photos/${name}`, `metfaces/images/${name}`);
 * const portraits = await openMetFaces('metfaces', { size: 8, channels: 3, part: 'train' });
 * [portraits.height, portraits.width]; // [8, 8]
 */
export async function openMetFaces(root: string, options: FolderOptions): Promise<ImageDataset> {
  checkArguments('openMetFaces', { root: [root, kinds.path] });
  return openImageFolder(await folderIn(root, ['images', 'metfaces/images']), options);
}

/**
 * Opens the aligned and cropped images of CelebA.
 * @param root the folder that contains img_align_celeba/, or the folder around that
 * @throws FileError for a root without that folder, or without images there
 * @example
 * import { mkdirSync, copyFileSync, readdirSync } from 'node:fs';
 *
 * mkdirSync('celeba/img_align_celeba', { recursive: true });
 * for (const name of readdirSync('photos')) copyFileSync(`photos/${name}`, `celeba/img_align_celeba/${name}`);
 * const faces = await openCelebA('celeba', { size: 8, channels: 3, part: 'train' });
 * [faces.height, faces.width]; // [8, 8]
 */
export async function openCelebA(root: string, options: FolderOptions): Promise<ImageDataset> {
  checkArguments('openCelebA', { root: [root, kinds.path] });
  return openImageFolder(await folderIn(root, ['img_align_celeba', 'celeba/img_align_celeba']), options);
}
