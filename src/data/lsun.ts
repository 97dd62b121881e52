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
  /** 'bedroom', 'church_outdoor', ...; not needed where `root` is a database. */
  category?: string;
}

const lsunOptions: OptionKinds<LsunOptions> = { ...decodeOptions, part: partKind, category: kinds.text };

/**
 * Opens a category below `root`, held out being its val database, or `root` itself where it is a database. A single
 * database is split by the hashes of its keys.
 * @throws FileError where there is no such database or it is damaged; loading throws one for more unreadable images than
 * tolerated; RectiflowError without sharp
 */
export async function openLsun(root: string, options: LsunOptions): Promise<ImageDataset & Disposable> {
  checkArgument('openLsun', 'root', root, kinds.path);
  const checked = checkOptions('openLsun', options, lsunOptions, ['part', 'size', 'channels']);
  const { part, category, ...decoding } = checked;
  const { path, whole } = await databaseOf(root, part, category);
  const database = await openLmdb(path);
  try {
    if (database.count === 0) throw new FileError(database.path, 'holds no image: it has no keys');
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

/** The database that holds a part, and whether all of it is that part. */
async function databaseOf(
  root: string,
  part: LsunOptions['part'],
  category = '',
): Promise<{ path: string; whole: boolean }> {
  const names = await list(root);
  if (names === undefined || names.includes('data.mdb')) return { path: root, whole: false };
  if (category === '')
    throw new FileError(root, `is no LMDB database, and no category (data.category) is named; ${categoriesIn(names)}`);
  const [train, val] = ['train', 'val'].map((suffix) => join(root, `${category}_${suffix}_lmdb`));
  const present = [train, val].filter(existsSync);
  if (present.length === 0)
    throw new FileError(root, `holds neither ${category}_train_lmdb nor ${category}_val_lmdb; ${categoriesIn(names)}`);
  return present.length === 1
    ? { path: present[0], whole: false }
    : { path: part === 'train' ? train : val, whole: true };
}

/** Names in a folder without those of systems; undefined for a file. */
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
  return found.length > 0 ? `categories there: ${[...new Set(found)].sort().join(', ')}` : 'it holds no category';
}

/** A key as text where it is, else in hexadecimal. */
function keyText(key: Uint8Array): string {
  const bytes = Buffer.from(key);
  const text = bytes.toString('latin1');
  return /^[!-~]+$/.test(text) ? text : `0x${bytes.toString('hex')}`;
}
