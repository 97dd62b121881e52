// Downloading CIFAR-10's archive, on request only. It is checked against its published SHA-256 while it comes in, and stands
// in the folder when it is whole; loadCifar10 reads it as it is.
import { createHash } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError, RectiflowError } from '../errors.ts';
import { writeFileAtomic } from '../io/atomic.ts';
import { asFileError } from '../io/file.ts';

/** The archive of the binary files as its authors publish it. */
const published = {
  url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
  sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
};
const fileName = 'cifar-10-binary.tar.gz';

export interface DownloadOptions {
  /** A mirror. Its bytes must be the published ones, unless `sha256` says otherwise. */
  url?: string;
  sha256?: string;
  /** Stops the download; what came is removed. */
  signal?: AbortSignal;
  /** Bytes that came and, where the server says so, bytes in all. */
  onProgress?: (progress: { bytes: number; total: number | undefined }) => void;
}

/**
 * Downloads the archive of 170 MB into the folder, which is made where it is missing, and returns the file's path.
 * @throws FileError naming the address and what to do by hand when it cannot be had, or is not what was published; the
 * signal's reason when stopped. Then the folder is as it was.
 */
export async function downloadCifar10(folder: string, options: DownloadOptions = {}): Promise<string> {
  const { url = published.url, sha256 = published.sha256, signal, onProgress } = options;
  const path = join(folder, fileName);
  const byHand = `download it by other means and put it there as ${fileName}`;
  try {
    signal?.throwIfAborted();
    await mkdir(folder, { recursive: true });
    const response = await fetch(url, { signal });
    if (!response.ok || !response.body)
      throw new FileError(path, `${url} answers ${response.status} ${response.statusText}; ${byHand}`);
    await writeFileAtomic(path, checkedBody(response, path, url, sha256, onProgress));
    return path;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    const known = asFileError(path, error);
    if (known instanceof RectiflowError) throw known;
    const { message, cause } = error as Error;
    const why = cause instanceof Error && cause.message ? `${message}: ${cause.message}` : message;
    throw new FileError(path, `cannot be downloaded from ${url} (${why}); ${byHand}`, { cause: error });
  }
}

async function* checkedBody(
  response: Response,
  path: string,
  url: string,
  sha256: string,
  onProgress: DownloadOptions['onProgress'],
): AsyncGenerator<Uint8Array> {
  const declared = Number(response.headers.get('content-length') ?? Number.NaN);
  const total = Number.isSafeInteger(declared) ? declared : undefined;
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    hash.update(chunk);
    bytes += chunk.length;
    onProgress?.({ bytes, total });
    yield chunk;
  }
  const found = hash.digest('hex');
  if (found !== sha256)
    throw new FileError(path, `what ${url} sent has SHA-256 ${found} instead of ${sha256}; it is not kept`);
}
