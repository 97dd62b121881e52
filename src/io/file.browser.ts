// A browser has no files. A bundle for browsers has this file in place of file.ts.
import { FileError } from '../errors.ts';

/** @throws FileError always */
export async function withFile(path: string): Promise<never> {
  throw new FileError(path, 'cannot be read: a browser has no files; fetch its bytes and pass those');
}

/** @throws FileError always */
export const readWhole = withFile;

/** @throws FileError always */
export async function readRange({ path }: { path: string }): Promise<never> {
  return withFile(path);
}
