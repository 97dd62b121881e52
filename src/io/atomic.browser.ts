// A browser has no files. A bundle for browsers has this file in place of atomic.ts.
import { FileError } from '../errors.ts';

/** @throws FileError always */
export async function writeFileAtomic(path: string): Promise<never> {
  throw new FileError(
    path,
    'cannot be written: a browser has no files; encode the data and offer its bytes for download',
  );
}
