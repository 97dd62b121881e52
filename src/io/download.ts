// Downloads one file, only on request. Its SHA-256 is computed as it arrives, and the file gets its name once it is
// complete and correct.
import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { checkArguments, checkOptions, kind, kinds, type OptionKinds } from '../arguments.ts';
import { FileError, RectiflowError } from '../errors.ts';
import { makeFolders } from '../folders.ts';
import { turn } from '../turn.ts';
import { writeFileAtomic } from './atomic.ts';
import { asFileError } from './file.ts';

export interface DownloadFileOptions {
  /** Expected SHA-256 in hexadecimal, in full or its first digits. */
  sha256: string;
  /** Stops the download; the partial file is removed. */
  signal?: AbortSignal;
  /** Called with the bytes received so far and the total, which is undefined if the server does not state it. */
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
 * Downloads `url` to `path`, creating the folder if it is missing.
 * @throws FileError with the address and a manual remedy if the download fails or its checksum is wrong; the signal's
 * reason when stopped. No partial file remains.
 * @example
 * const file = 'pt_inception-2015-12-05-6726825d.pth';
 * const url = `https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/${file}`;
 * await downloadFile(url, file, { sha256: '6726825d' });
 */
export async function downloadFile(url: string, path: string, options: DownloadFileOptions): Promise<void> {
  checkArguments('downloadFile', { url: [url, address], path: [path, kinds.path] });
  const checked = checkOptions('downloadFile', options, downloadFileOptions, ['sha256']);
  const { signal } = checked;
  const byHand = `download it by other means and save it there as ${basename(path)}`;
  try {
    await turn(signal);
    const response = await fetch(url, { signal });
    if (!response.ok || !response.body)
      throw new FileError(path, `${url} answered ${response.status} ${response.statusText}; ${byHand}`);
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
    throw new FileError(path, `the download from ${url} has SHA-256 ${found} instead of ${sha256}; it was discarded`);
}
