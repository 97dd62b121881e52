// What a file is, whatever it is called: teachers of pairs and of reflow, checkpoints of samples.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { asFileError } from '../io/index.ts';

/** SHA-256 of a file's bytes, 64 hexadecimal digits. @throws FileError */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer);
  } catch (error) {
    throw asFileError(path, error);
  }
  return hash.digest('hex');
}
