// Identity of a file independent of its name: teachers of pairs and of reflow, checkpoints behind samples.
import { createHash } from 'node:crypto';
import { readPieces, withFile } from '../../io/file.ts';

/** SHA-256 of a file's bytes, 64 hexadecimal digits. @throws FileError */
export async function sha256OfFile(path: string): Promise<string> {
  return withFile(path, async (file) => {
    const hash = createHash('sha256');
    for await (const piece of readPieces(file)) hash.update(piece);
    return hash.digest('hex');
  });
}
