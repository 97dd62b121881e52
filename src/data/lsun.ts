// LSUN: one LMDB database for each category and part, {category}_train_lmdb and {category}_val_lmdb, whose values are
// JPEG or WebP files. Source: Yu et al., "LSUN: Construction of a Large-scale Image Dataset", and its download script.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { asFileError } from '../io/file.ts';
import { isSystemName } from '../io/system_names.ts';
import { type ImageDataset, partKind } from './dataset.ts';
import { type DecodeOptions, decodedDataset, decodeOptions } from './decode.ts';
import { openLmdb } from './lmdb.ts';
import { splitByKey } from './split.ts';

export interface LsunOptions extends DecodeOptions {
  part: 'train' | 'heldOut';
  /** 'bedroom', 'church_outdoor', ...; not needed if `root` is a database. */
  category?: string;
}

const lsunOptions: OptionKinds<LsunOptions> = { ...decodeOptions, part: partKind, category: kinds.text };

/**
 * Opens a category below `root`, whose val database is the held-out part, or `root` itself if it is a database. If only
 * one database exists, it serves both parts: the hash of each key decides its part, see split.ts.
 * @throws FileError if there is no such database or it is damaged; loading throws one if more images than tolerated are
 * unreadable; RectiflowError if sharp is not installed
 * @example
 * const church = await openLsun('lsun', { category: 'church_outdoor', part: 'train', size: 32, channels: 3 });
 * church.count; // 6
 * const pixels = await church.load(Int32Array.of(0, 1));
 * pixels.length; // 6144
 * church[Symbol.dispose]();
 */
export async function openLsun(root: string, options: LsunOptions): Promise<ImageDataset> {
  checkArgument('openLsun', 'root', root, kinds.path);
  const checked = checkOptions('openLsun', options, lsunOptions, ['part', 'size', 'channels']);
  const { part, category, ...decoding } = checked;
  const { path, whole } = await databaseOf(root, part, category);
  const database = await openLmdb(path);
  try {
    if (database.count === 0) throw new FileError(database.path, 'has no images: it has no keys');
    const indices = whole
      ? Uint32Array.from({ length: database.count }, (_, i) => i)
      : splitByKey(database.path, database.count, (i) => database.key(i), part);
    const images = {
      path: database.path,
      count: indices.length,
      nameOf: (index: number) => `${database.path}, key ${keyText(database.key(indices[index]))},`,
      source: (index: number) => database.value(indices[index]),
    };
    const dataset = await decodedDataset(images, decoding);
    return { ...dataset, [Symbol.dispose]: () => database[Symbol.dispose]() };
  } catch (error) {
    database[Symbol.dispose]();
    throw error;
  }
}

/** The database that contains a part, and whether the part is the whole database. */
async function databaseOf(
  root: string,
  part: LsunOptions['part'],
  category = '',
): Promise<{ path: string; whole: boolean }> {
  const names = await list(root);
  if (names === undefined || names.includes('data.mdb')) return { path: root, whole: false };
  if (category === '')
    throw new FileError(
      root,
      `is not an LMDB database, and no category (data.category) is given; ${categoriesIn(names)}`,
    );
  const [train, val] = ['train', 'val'].map((suffix) => join(root, `${category}_${suffix}_lmdb`));
  const present = [train, val].filter(existsSync);
  if (present.length === 0)
    throw new FileError(root, `has neither ${category}_train_lmdb nor ${category}_val_lmdb; ${categoriesIn(names)}`);
  return present.length === 1
    ? { path: present[0], whole: false }
    : { path: part === 'train' ? train : val, whole: true };
}

/** The names in a folder without system names; undefined for a file. */
async function list(path: string): Promise<string[] | undefined> {
  try {
    return (await readdir(path)).filter((name) => !isSystemName(name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return undefined;
    throw asFileError(path, error);
  }
}

function categoriesIn(names: readonly string[]): string {
  const found = names.flatMap((name) => /^(.+)_(?:train|val)_lmdb$/.exec(name)?.[1] ?? []);
  return found.length > 0 ? `it has the categories ${[...new Set(found)].sort().join(', ')}` : 'it has no category';
}

/** A key as text if it is printable ASCII, otherwise in hexadecimal. */
function keyText(key: Uint8Array): string {
  const bytes = Buffer.from(key);
  const text = bytes.toString('latin1');
  return /^[!-~]+$/.test(text) ? text : `0x${bytes.toString('hex')}`;
}
