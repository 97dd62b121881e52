// What an installation of the package brings with it: its size, its packages, the libraries inside it and their licences.
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import ts from 'typescript';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Packed, packPackage } from '../support/packed.ts';
import { builtPage } from '../support/playground.ts';
import { buildWasm } from '../support/wasm.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-package-size-'));
const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages as Record<
  string,
  {
    version: string;
    license: string;
    dependencies?: Record<string, string>;
    optionalDependencies?: Record<string, string>;
  }
>;
const own = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
let packed: Packed;

beforeAll(() => {
  buildWasm();
  builtPage();
  packed = packPackage(folder);
}, 120_000);

afterAll(() => rmSync(folder, { recursive: true }));

const textOf = (path: string) => readFileSync(join(folder, path), 'utf8');

function bytesIn(path: string): number {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesIn(join(path, name)), 0);
}

it('the archive has at most 1.5 MB besides the playground, which has at most 4, and the module of the device wasm is in it', () => {
  const files = readdirSync(join(folder, 'dist/playground')).sort();
  expect(files).toEqual(['index.html', 'rectiflow.mjs']);
  expect(bytesIn(join(folder, 'dist/playground'))).toBeLessThanOrEqual(4_000_000);
  const archived = files.map((name) => gzipSync(readFileSync(join(folder, 'dist/playground', name))).length);
  expect(packed.bytes - archived[0] - archived[1]).toBeLessThanOrEqual(1_500_000);
  expect(textOf('dist/wasm/kernels.js')).not.toContain('undefined');
});

it('an installation has at most 3 packages, and 10 MB besides the playground', () => {
  // npm installs koffi's package for this system alone.
  const systems = Object.keys(lock['node_modules/koffi'].optionalDependencies ?? {});
  const installed = systems.filter((name) =>
    readdirSync(join(root, 'node_modules/@koromix')).includes(name.split('/')[1]),
  );
  expect(Object.keys(own.dependencies)).toEqual(['koffi']);
  expect(lock['node_modules/koffi'].dependencies).toBeUndefined();
  expect(installed).toHaveLength(1);
  expect(lock[`node_modules/${installed[0]}`].dependencies).toBeUndefined();
  const bytes = [...installed, 'koffi'].reduce(
    (sum, name) => sum + bytesIn(join(root, 'node_modules', name)),
    bytesIn(folder),
  );
  expect(bytes - bytesIn(join(folder, 'dist/playground'))).toBeLessThanOrEqual(10_000_000);
});

it('its code imports koffi, what the program installs itself, and nothing else', () => {
  const imported = new Set<string>();
  // The package's own `imports` resolve names that begin with #.
  for (const { path } of packed.files.filter((file) => /\.(js|mjs|d\.ts)$/.test(file.path)))
    for (const { fileName } of ts.preProcessFile(textOf(path), true, true).importedFiles)
      if (!/^(\.|node:|#)| /.test(fileName) && !builtinModules.includes(fileName)) imported.add(fileName);
  // Peer dependencies, and the package itself in the type imports of configs/.
  const expected = ['koffi', 'rectiflow/run', ...Object.keys(own.peerDependencies)];
  expect([...imported].filter((name) => !expected.includes(name))).toEqual([]);
});

it('THIRD_PARTY_LICENSES has the licence of each library in dist/vendor, and of the packages that those contain', () => {
  const all = textOf('THIRD_PARTY_LICENSES');
  const libraries = readdirSync(join(folder, 'dist/vendor')).map((name) => name.replace(/\.js$/, ''));
  expect(libraries.sort()).toEqual(['fast-png', 'sucrase', 'yauzl', 'yazl', 'zod']);
  // Dependencies of sucrase that are not bundled: those of its commands and its loader, of source maps, and of checks of its options.
  const left = ['commander', 'mz', 'pirates', 'tinyglobby', '@jridgewell/gen-mapping', 'ts-interface-checker'];
  const inside = (name: string): string[] => [
    name,
    ...Object.keys(lock[`node_modules/${name}`].dependencies ?? {})
      .filter((dependency) => !left.includes(dependency))
      .flatMap(inside),
  ];
  const packages = [...new Set(libraries.flatMap(inside))];
  expect(packages.length).toBeGreaterThan(libraries.length);
  for (const name of packages) {
    const licence = readdirSync(join(root, 'node_modules', name)).find((file) => /^licen[cs]e/i.test(file)) as string;
    expect(all).toContain(`${name} ${lock[`node_modules/${name}`].version} (`);
    expect(all).toContain(readFileSync(join(root, 'node_modules', name, licence), 'utf8').trim());
  }
});
