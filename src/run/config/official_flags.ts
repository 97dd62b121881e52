// Parts of official command lines that need interpretation: placeholders, keys without effect, names of Python files.
import { checkArgument, kinds, listOf } from '../../arguments.ts';
import { keyProperties, leafPaths } from './tree.ts';

/** Texts in the official files that stand for a path of the user. */
const placeholders = ['ckpt_path', 'data_path', 'DATA_DIR', 'YOUR_ROOT_PATH', 'YOUR_DATA_DIR'];

/** The path that the user set; undefined for an empty one and for the official placeholders. */
export function userPath(path: string): string | undefined {
  return path === '' || placeholders.includes(path) ? undefined : path;
}

export const pathList = listOf(kinds.text, 'dotted paths of keys');

/** One sentence that names the keys without effect among `paths`; undefined if there are none. */
export function describeInert(paths: readonly string[]): string | undefined {
  checkArgument('describeInert', 'paths', paths, pathList);
  const named = leafPaths()
    .map((path) => path.join('.'))
    .filter((key) => paths.includes(key) && keyProperties(key)?.inert);
  if (named.length === 0) return undefined;
  return `${named.join(', ')} ${named.length === 1 ? 'has' : 'have'} no effect, as in the official code`;
}

/** "configs/rectified_flow/x.py" as "rectified_flow/x"; undefined for a name that does not end in .py. */
export function pythonPreset(reference: string): string | undefined {
  return /\.py$/.test(reference) ? presetName(reference.slice(0, -3)) : undefined;
}

/** "./configs/x", as the official README writes preset names, as "x". */
export function presetName(reference: string): string {
  return reference.replace(/^(\.\/)?(.*\/)?configs\//, '').replace(/^\.\//, '');
}
