// Downloads CIFAR-10's archive, only on request. loadCifar10 reads it without unpacking.
import { join } from 'node:path';
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { type DownloadFileOptions, downloadFile, downloadFileOptions } from '../io/download.ts';

/** The authors' archive of the binary files. */
const published = {
  url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
  sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
};
const fileName = 'cifar-10-binary.tar.gz';

export interface DownloadOptions extends Partial<DownloadFileOptions> {
  /** A mirror. Its file must be the published one, unless `sha256` is given. */
  url?: string;
}

const downloadOptions: OptionKinds<DownloadOptions> = { ...downloadFileOptions, url: kinds.text };

/**
 * Downloads the archive (170 MB) into the folder, which is created if it is missing. Returns the file's path.
 * @throws as downloadFile
 */
export async function downloadCifar10(folder: string, options: DownloadOptions = {}): Promise<string> {
  checkArgument('downloadCifar10', 'folder', folder, kinds.path);
  const checked = checkOptions('downloadCifar10', options, downloadOptions);
  const { url = published.url, sha256 = published.sha256, ...rest } = checked;
  const path = join(folder, fileName);
  await downloadFile(url, path, { sha256, ...rest });
  return path;
}
