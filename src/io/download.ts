// Downloading one file, on request only. It is checked against its SHA-256 while it comes in, and stands in its folder when it
// is whole and right.
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { checkArguments, checkOptions, kind, kinds, type OptionKinds } from '../arguments.ts';
import { FileError, RectiflowError } from '../errors.ts';
import { makeFolders } from '../folders.ts';
import { turn } from '../turn.ts';
import { writeFileAtomic } from './atomic.ts';
import { asFileError } from './file.ts';

export interface DownloadFileOptions {
  /** Hexadecimal, whole or its first digits. */
  sha256: string;
  /** Stops the download; what came is removed. */
  signal?: AbortSignal;
  /** Bytes that came and, where the server says so, bytes in all. */
  onProgress?: (progress: { bytes: number; total: number | undefined }) => void;
}

export const downloadFileOptions: OptionKinds<DownloadFileOptions> = {
  sha256: kind('1 to 64 hexadecimal digits', (v) => typeof v === 'string' && /^[0-9a-f]{1,64}$/i.test(v)),
  signal: kinds.signal,
  onProgress: kinds.callback,
};

const address = kind(
  'an address http://... or https://...',
  (v) => typeof v === 'string' && /^https?:/.test(v) && URL.canParse(v),
);

/**
 * Downloads `url` to `path`, whose folder is made where it is missing.
 * @throws FileError naming the address and what to do by hand when it cannot be had, or is not what it should be; the
 * signal's reason when stopped. Then the folder is as it was.
 */
export async function downloadFile(url: string, path: string, options: DownloadFileOptions): Promise<void> {
  checkArguments('downloadFile', { url: [url, address], path: [path, kinds.path] });
  const checked = checkOptions('downloadFile', options, downloadFileOptions, ['sha256']);
  const { signal } = checked;
  const byHand = `download it by other means and put it there as ${basename(path)}`;
  try {
    await turn(signal);
    const response = await fetch(url, { signal });
    if (!response.ok || !response.body)
      throw new FileError(path, `${url} answers ${response.status} ${response.statusText}; ${byHand}`);
    makeFolders(dirname(path));
    await writeFileAtomic(path, checkedBody(response, path, url, checked));
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
  { sha256, onProgress }: DownloadFileOptions,
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
  if (!found.startsWith(sha256.toLowerCase()))
    throw new FileError(path, `what ${url} sent has SHA-256 ${found} instead of ${sha256}; it is not kept`);
}
