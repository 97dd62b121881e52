// The browser of the tests, by the names that scripts/test_needs.js looks for.
import { spawnSync } from 'node:child_process';
// @ts-expect-error A script without types.
import { browsers } from '../../scripts/test_needs.js';

/** The command of the first browser that is installed. */
export const browser: string =
  (browsers as string[]).find((name) => spawnSync(name, ['--version']).error === undefined) ?? browsers[0];
