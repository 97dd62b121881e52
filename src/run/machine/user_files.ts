// Files that are too large for the package or not ours to give: a data set, published weights. They are looked for where a key
// of the configuration says, then in the user's data folder (RECTIFLOW_DATA, by default in the user's cache), and downloaded
// there when there is internet.
import { existsSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fromEnvironment, homeFolder } from '../../device/environment.ts';
import { FileError, ValueError } from '../../errors.ts';
import { sha256OfFile, withFile } from '../../io/file.ts';
import { downloadFile } from '../../io/index.ts';
import { given } from '../config/index.ts';

type Notice = (text: string) => void;

/** Where downloads and data set statistics go. @throws ValueError for a user without a home folder who names none */
export function userDataFolder(): string {
  const named = fromEnvironment('RECTIFLOW_DATA');
  if (named !== undefined) return named;
  const home = homeFolder();
  if (home === undefined)
    throw new ValueError('this user has no home folder for downloads; RECTIFLOW_DATA=DIR names another place');
  return join(home, '.cache', 'rectiflow', 'data');
}

/** Runs a download; a failure also names the key that stands in for it. */
export async function downloaded(
  path: string,
  key: string,
  notice: Notice,
  download: () => Promise<unknown>,
): Promise<string> {
  if (existsSync(path)) return path;
  notice(`downloading ${basename(path)} to ${path}; --config.${key} names one that is there already`);
  try {
    await download();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new FileError(path, `${error.problem}; or set --config.${key}`, { cause: error });
  }
  return path;
}

/** Published weights by the name of their file, whose last part is the beginning of its SHA-256. */
const published = {
  inception: {
    key: 'eval.inception',
    file: 'pt_inception-2015-12-05-6726825d.pth',
    folder: 'https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights',
  },
  vgg16: { key: 'reflow.vgg16', file: 'vgg16-397923af.pth', folder: 'https://download.pytorch.org/models' },
} as const;

/**
 * The file of published weights.
 * @param path what the key of the configuration holds
 * @throws FileError for a file that is missing or whose SHA-256 is not what its name says
 */
export async function weightsFile(
  name: keyof typeof published,
  path: string,
  notice: Notice = () => {},
): Promise<string> {
  const { key, file, folder } = published[name];
  const own = given(path);
  if (own !== undefined) {
    await checkNamedHash(own);
    return own;
  }
  const target = join(userDataFolder(), 'weights', file);
  await downloaded(target, `${key} FILE`, notice, () =>
    downloadFile(`${folder}/${file}`, target, { sha256: namedHash(file) as string }),
  );
  await checkNamedHash(target);
  return target;
}

/** "397923af" of "vgg16-397923af.pth", PyTorch's way to name a file; undefined for other names. */
function namedHash(file: string): string | undefined {
  return /-([0-9a-f]{8,64})\.\w+$/.exec(basename(file))?.[1];
}

/** @throws FileError for a file that is not what its name says; a name without a hash says nothing */
async function checkNamedHash(path: string): Promise<void> {
  const expected = namedHash(path);
  if (expected === undefined) return withFile(path, async () => {});
  const found = await sha256OfFile(path);
  if (!found.startsWith(expected))
    throw new FileError(
      path,
      `has SHA-256 ${found.slice(0, 16)}..., its name says ${expected}; it is damaged or another file`,
    );
}
