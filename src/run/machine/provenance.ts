// Where a result comes from: package version and, in a git checkout, its revision; and the version of its arithmetic.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * Counts the changes after which the same run has other bits. A state carries the number that its run began with.
 * 1: states that carry none. 2: Adam's constants in double, the frequencies of time embeddings rounded as the official code does, whole
 * means of group norms, exp, sin and cos at the ends of their range, sums in short stretches.
 */
export const NUMERICS = 2;

// Asked when it is needed: a bundle in CommonJS has no place.
const root = () => new URL('../../../', import.meta.url);

export function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL('package.json', root()), 'utf8')) as { version: string }).version;
}

/** Short hash of HEAD, with "+" when the tree differs from it; undefined outside a checkout of this project. */
export function gitRevision(): string | undefined {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: fileURLToPath(root()), encoding: 'utf8' });
  // An installed package may lie inside somebody else's repository.
  if (git('rev-parse', '--show-prefix').stdout?.trim() !== '') return undefined;
  const head = git('rev-parse', '--short=12', 'HEAD');
  if (head.status !== 0) return undefined;
  return head.stdout.trim() + (git('status', '--porcelain', '-uno').stdout?.trim() ? '+' : '');
}

/** As checkpoints and reports state it; without a time, so that a run done again gives the same bytes. */
export function provenance(): { version: string; revision: string } {
  return { version: packageVersion(), revision: gitRevision() ?? 'unknown' };
}
