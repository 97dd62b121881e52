// Finding checkpoints by name. Official command lines say checkpoint-10.pth where the official program writes
// checkpoint_10.pth, and ours end in .safetensors. A file of the exact name comes first.
import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { checkArgument, kinds } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { asFileError } from '../../io/file.ts';

/** Matches checkpoint_10.safetensors, checkpoint-10.pth, ...; the first group is the number. */
const pattern = /^checkpoint[-_](\d{1,15})\.(?:safetensors|pth)$/;

/**
 * The path of a checkpoint.
 * @throws FileError for a folder, no match, or two matches that differ in spelling only
 * @example
 * findCheckpoint('runs/digits/checkpoints/checkpoint-1.pth'); // 'runs/digits/checkpoints/checkpoint_1.safetensors'
 */
export function findCheckpoint(reference: string): string {
  checkArgument('findCheckpoint', 'reference', reference, kinds.path);
  if (existsSync(reference)) {
    if (statSync(reference).isDirectory()) throw new FileError(reference, 'is a folder; name a checkpoint in it');
    return reference;
  }
  const number = pattern.exec(basename(reference))?.[1];
  const candidates =
    number === undefined ? [] : spellings(dirname(reference), number).filter((path) => existsSync(path));
  if (candidates.length === 1) return candidates[0];
  if (candidates.length > 1)
    throw new FileError(reference, `matches ${candidates.join(' and ')}; give one of these names`);
  const tried = number === undefined ? '' : `, nor under another spelling: ${spellings('', number).join(', ')}`;
  throw new FileError(reference, `no such file${tried}`);
}

function spellings(folder: string, number: string): string[] {
  return ['safetensors', 'pth'].flatMap((ending) =>
    ['_', '-'].map((dash) => join(folder, `checkpoint${dash}${number}.${ending}`)),
  );
}

/**
 * The numbered checkpoints in a folder, ascending.
 * @throws FileError for a folder that cannot be read, or two files with the same number
 */
export async function numberedCheckpoints(folder: string): Promise<{ number: number; path: string }[]> {
  const files = await readdir(folder).catch((error) => {
    throw asFileError(folder, error);
  });
  const numbers = new Map<number, string>();
  for (const file of files) {
    const number = pattern.exec(file)?.[1];
    if (number === undefined) continue;
    const other = numbers.get(Number(number));
    if (other) throw new FileError(folder, `holds both ${other} and ${file}; remove or rename one`);
    numbers.set(Number(number), file);
  }
  return [...numbers].sort(([a], [b]) => a - b).map(([number, file]) => ({ number, path: join(folder, file) }));
}

/** The name of a checkpoint's evaluations, as in the official code: "ckpt_3" for checkpoint_3 or its file. */
export function evaluationName(checkpoint: string): string {
  return basename(checkpoint)
    .replace(/^checkpoint[-_]/, 'ckpt_')
    .replace(/\.(?:safetensors|pth)$/, '');
}
