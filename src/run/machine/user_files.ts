// Files that are too large for the package or that we may not redistribute: data sets, published weights. Each is read
// from the path in its configuration key, else from the user's data folder (RECTIFLOW_DATA, by default in the user's
// cache), where it is downloaded if missing.
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fromEnvironment, homeFolder } from '../../device/environment.ts';
import { FileError, ValueError } from '../../errors.ts';
import { sha256OfFile, withFile } from '../../io/file.ts';
import { downloadFile } from '../../io/index.ts';
import { userPath } from '../config/index.ts';

type Notice = (text: string) => void;

/** Folder of downloads and data set statistics. @throws ValueError without both RECTIFLOW_DATA and a home folder */
export function userDataFolder(): string {
  const named = fromEnvironment('RECTIFLOW_DATA');
  if (named !== undefined) return named;
  const home = homeFolder();
  if (home === undefined) throw new ValueError('this user has no home folder for downloads; set RECTIFLOW_DATA=DIR');
  return join(home, '.cache', 'rectiflow', 'data');
}

/** Downloads a file unless it exists. An error also names the configuration key that takes its place. */
export async function ensureDownloaded(
  path: string,
  key: string,
  notice: Notice,
  download: () => Promise<unknown>,
): Promise<string> {
  if (existsSync(path)) return path;
  notice(`downloading ${basename(path)} to ${path}; --config.${key} uses an existing copy`);
  try {
    await download();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new FileError(path, `${error.problem}; or set --config.${key}`, { cause: error });
  }
  return path;
}

/** Published weights. The last part of each file name is the beginning of its SHA-256. */
const published = {
  inception: {
    key: 'eval.inception',
    file: 'pt_inception-2015-12-05-6726825d.pth',
    folder: 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights',
  },
  vgg16: { key: 'reflow.vgg16', file: 'vgg16-397923af.pth', folder: 'https://download.pytorch.org/models' },
} as const;

/**
 * Path of published weights, downloaded if necessary.
 * @param path the value of the configuration key; empty or a placeholder means the user's data folder
 * @throws FileError for a missing file, or one whose SHA-256 differs from the hash in its name
 */
export async function weightsFile(
  name: keyof typeof published,
  path: string,
  notice: Notice = () => {},
): Promise<string> {
  const { key, file, folder } = published[name];
  const own = userPath(path);
  if (own !== undefined) {
    await checkNamedHash(own);
    return own;
  }
  const target = join(userDataFolder(), 'weights', file);
  await ensureDownloaded(target, `${key} FILE`, notice, () =>
    downloadFile(`${folder}/${file}`, target, { sha256: namedHash(file) as string }),
  );
  await checkNamedHash(target);
  return target;
}

/** The hash in a file name of PyTorch's form: "397923af" in "vgg16-397923af.pth". undefined for other names. */
function namedHash(file: string): string | undefined {
  return /-([0-9a-f]{8,64})\.\w+$/.exec(basename(file))?.[1];
}

/** @throws FileError if a file cannot be read, or if its name contains a hash that is not its own */
async function checkNamedHash(path: string): Promise<void> {
  const expected = namedHash(path);
  if (expected === undefined) return withFile(path, async () => {});
  const found = await sha256OfFile(path);
  if (!found.startsWith(expected))
    throw new FileError(
      path,
      `has SHA-256 ${found.slice(0, 16)}..., but its name says ${expected}; the file is damaged or misnamed`,
    );
}
