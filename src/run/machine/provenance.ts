// Provenance of a result: package version, git revision in a checkout, and version of the arithmetic.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Version of the arithmetic, raised by every change after which the same run gives other bits. A state stores the
 * version that its run started with.
 * 1: states without a version. 2: Adam's constants in double, frequencies of time embeddings rounded as in the official
 * code,
 * exact means in group norm, exp, sin and cos at the ends of their range, sums in short stretches. 3: group norm on
 * cards adds in another order, and in bf16 uses the fast exponential. 4: group norm on cards adds in another order again. 5:
 * convolutions of a few more shapes add their channels in stretches of 64.
 */
export const NUMERICS = 5;

// A function, because import.meta.url is undefined in a CommonJS bundle.
const root = () => new URL('../../../', import.meta.url);

export function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL('package.json', root()), 'utf8')) as { version: string }).version;
}

/** Short hash of HEAD, with "+" if the working tree differs; undefined outside a checkout of this project. */
export function gitRevision(): string | undefined {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: fileURLToPath(root()), encoding: 'utf8' });
  // An installed package may be inside another repository.
  if (git('rev-parse', '--show-prefix').stdout?.trim() !== '') return undefined;
  const head = git('rev-parse', '--short=12', 'HEAD');
  if (head.status !== 0) return undefined;
  return head.stdout.trim() + (git('status', '--porcelain', '-uno').stdout?.trim() ? '+' : '');
}

/**
 * Version and revision, as checkpoints and reports store them. It has no date, so that a repeated run gives the same
 * bytes.
 */
export function provenance(): { version: string; revision: string } {
  return { version: packageVersion(), revision: gitRevision() ?? 'unknown' };
}
