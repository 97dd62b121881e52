// Checks the package as npm would publish it: publint with its strict rules, and whether TypeScript finds the right types for
// each entry point ("are the types wrong"). Reads the build in dist and asks no registry; `npm run build` comes first.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The package has ES modules alone: require() of those and the resolution of Node 10 are not looked at. */
const resolutions = ['node16-esm', 'bundler'];

/** @param tarball bytes of a .tgz @returns a line for each problem */
export async function findProblems(tarball) {
  const archive = tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength);
  const { messages, pkg } = await publint({ pack: { tarball: archive }, strict: true });
  const analysis = await checkPackage(createPackageFromTarballData(new Uint8Array(archive)));
  if (!analysis.types) return ['the package has no types'];
  const wrong = analysis.problems.filter(
    ({ resolutionKind }) => resolutionKind === undefined || resolutions.includes(resolutionKind),
  );
  return [
    ...messages.map((message) => `publint: ${formatMessage(message, pkg, { color: false })}`),
    ...wrong.map(({ kind, ...where }) => `types: ${kind} ${JSON.stringify(where)}`),
  ];
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-package-'));
  try {
    const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
    const [{ filename }] = JSON.parse(execFileSync('npm', args, { cwd: root, encoding: 'utf8' }));
    const problems = await findProblems(readFileSync(join(folder, filename)));
    for (const problem of problems) console.error(problem);
    process.exitCode = problems.length > 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
