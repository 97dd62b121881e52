// The browser of the tests, by the names that scripts/test_needs.js looks for.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
// @ts-expect-error A script without types.
import { browsers } from '../../scripts/test_needs.js';

/** The command of the first browser that is installed. */
export const browser: string =
  (browsers as string[]).find((name) => spawnSync(name, ['--version']).error === undefined) ?? browsers[0];

/** The path of that browser, for programs that do not search PATH. */
export function browserPath(): string {
  const folder = (process.env.PATH ?? '').split(delimiter).find((folder) => existsSync(join(folder, browser)));
  if (folder === undefined) throw new Error(`${browser} is not on PATH; npm run test:setup installs it`);
  return join(folder, browser);
}
