// PyTorch's files (.pth, .pt): a pickle that describes a value, and the bytes of its tensors beside it. The layout is a zip
// archive (pth_zip.ts) since torch 1.6, before that a row of pickles and arrays (pth_legacy.ts).
//
// Nothing of a pickle is ever run: names that are no tensors or plain data, such as the class of a whole pickled module,
// are refused.
import { checkArgument, kinds, refuseExtra } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { withZip } from '../archives/zip.ts';
import { readRange, withFile } from '../file.ts';
import { readLegacyPth } from './pth_legacy.ts';
import { readZipPth } from './pth_zip.ts';
import type { TorchValue } from './torch_values.ts';

/**
 * The value that torch.save wrote. Storages are read one by one; tensors of one storage share its memory.
 * @throws FileError when damaged, cut off, or holding anything that is neither tensor nor plain data
 */
export function readPth(path: string): Promise<TorchValue>;
export async function readPth(path: string, ...extra: unknown[]): Promise<TorchValue> {
  refuseExtra('readPth', extra);
  checkArgument('readPth', 'path', path, kinds.path);
  const start = await withFile(path, (file) => readRange(file, 0, Math.min(file.bytes, 2)));
  if (start[0] === 0x50 && start[1] === 0x4b) return withZip(path, '.pth', readZipPth);
  if (start[0] === 0x80) return withFile(path, readLegacyPth);
  throw new FileError(path, 'is no file of PyTorch (neither a zip archive nor a pickle)');
}
