// PyTorch files (.pth, .pt): a pickle that describes a value, and the bytes of its tensors next to it. Since torch 1.6
// they are in a zip archive (pth_zip.ts), before that in a sequence of pickles and arrays (pth_legacy.ts).
//
// No code in a pickle is ever run: globals other than tensors and plain data, such as the class of a pickled module,
// are refused.
import { checkArgument, kinds, refuseExtra } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { withZip } from '../archives/zip.ts';
import { readRange, withFile } from '../file.ts';
import { readLegacyPth } from './pth_legacy.ts';
import { readZipPth } from './pth_zip.ts';
import type { TorchValue } from './torch_values.ts';

/**
 * Reads the value that torch.save wrote. Storages are read one by one; tensors of one storage share its memory.
 * @throws FileError if damaged, truncated, or containing anything other than tensors and plain data
 * @example
 * await writePth('model.pth', new Map([['bias', { shape: [2], dtype: 'f32', data: Float32Array.of(1, 2) }]]));
 * const state = await readPth('model.pth');
 * state instanceof Map && [...state.keys()]; // ['bias']
 */
export function readPth(path: string): Promise<TorchValue>;
export async function readPth(path: string, ...extra: unknown[]): Promise<TorchValue> {
  refuseExtra('readPth', extra);
  checkArgument('readPth', 'path', path, kinds.path);
  const start = await withFile(path, (file) => readRange(file, 0, Math.min(file.bytes, 2)));
  if (start[0] === 0x50 && start[1] === 0x4b) return withZip(path, '.pth', readZipPth);
  if (start[0] === 0x80) return withFile(path, readLegacyPth);
  throw new FileError(path, 'is not a PyTorch file (neither a zip archive nor a pickle)');
}
