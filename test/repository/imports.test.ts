// Imports of src follow the lattice of scripts/layers.js and make no cycles: one violation of each kind, planted in a copy of
// the sources, is reported, and docs/design.md shows the lattice that is enforced.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome');
const layers = join(root, 'scripts/layers.js');

const planted: [file: string, imported: string, rule: string][] = [
  ['src/io/planted.ts', '../device/device.ts', 'io may import base'],
  ['src/device/planted.ts', '../tensor/create.ts', 'device may import base'],
  ['src/tensor/planted.ts', '../kernels/index.ts', 'tensor may import base, device'],
  ['src/kernels/planted.ts', '../nn/index.ts', 'kernels may import base, device, tensor, autograd'],
  ['src/nn/planted.ts', '../io/index.ts', 'nn may import base, device, tensor, autograd, kernels'],
  ['src/flow/planted.ts', '../nn/index.ts', 'flow may import base, device, tensor, autograd, kernels'],
  ['src/flow/planted_data.ts', '../data/index.ts', 'flow may import base, device, tensor, autograd, kernels'],
  ['src/data/pairs/planted.ts', '../../flow/index.ts', 'data may import base, io, device, tensor'],
  ['src/eval/planted.ts', '../run/index.ts', 'eval may import base, io, device, tensor, autograd, kernels, nn'],
  ['src/turn.ts', './io/file.ts', 'base may import nothing'],
  ['src/run/config/planted.ts', '../machine/doctor.ts', 'run/config may import what run may'],
  ['src/run/planted.ts', './data.ts', 'run/planted.ts has no line in scripts/layers.js'],
  [
    'src/run/machine/planted.ts',
    '../../cli/train.ts',
    'run/machine may import run/arguments.ts, run/config, what run may',
  ],
  ['src/planted.ts', './errors.ts', 'planted.ts has no line in scripts/layers.js'],
  ['src/nn/planted_native.ts', '../device/native/loader.ts', 'only device imports device/native'],
  ['src/device/planted_koffi.ts', 'koffi', 'only device/native imports koffi'],
  ['src/cli/planted.ts', '../../test/cases.ts', 'the product does not import its tests and benchmarks'],
  ['src/cli/planted_bench.ts', '../../bench/ops.ts', 'the product does not import its tests and benchmarks'],
  ['src/io/planted_package.ts', 'rectiflow/flow', 'the product does not import itself as a package'],
  ['src/io/planted_dist.ts', '../../dist/flow/index.js', 'it is outside of src'],
];

/** Ways to write an import, taken in turns. */
const forms = [
  (name: string) => `export * from '${name}';`,
  (name: string) => `import '${name}';`,
  (name: string) => `export const planted = import('${name}');`,
  (name: string) => `export type Planted = import('${name}').Planted;`,
];

let copy: string;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'rectiflow-imports-'));
  for (const name of ['src', 'biome.json']) cpSync(join(root, name), join(copy, name), { recursive: true });
});

/** The lines that scripts/layers.js prints for the sources below a folder. */
async function violations(folder: string): Promise<string[]> {
  const { violations } = (await import(layers)) as { violations: (root: string) => string[] };
  return violations(folder);
}

it('reports a violation of each kind, one line each, and nothing else', async () => {
  planted.forEach(([file, imported], i) => {
    writeFileSync(join(copy, file), `${forms[i % forms.length](imported)}\n`);
  });
  const expected = planted.map(([file, imported, rule]) => {
    const target = imported.startsWith('.') ? join(file, '..', imported) : imported;
    return `${file}: imports ${target}; ${rule}`;
  });
  expect((await violations(copy)).sort()).toEqual(expected.sort());
});

it('accepts these sources when run as a program', () => {
  const { status, stderr } = spawnSync(process.execPath, [layers], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, '']);
});

it('each line names only lines above it, and docs/design.md shows them all', async () => {
  const { lattice } = (await import(layers)) as { lattice: string };
  const lines = lattice.split('\n').map((line) => line.split(/ ->|, /).map((name) => name.trim()));
  lines.forEach(([folder, ...list], i) => {
    const above = lines.slice(0, i).map(([name]) => name);
    expect([folder, list.filter((name) => name !== '' && !above.includes(name))]).toEqual([folder, []]);
  });
  const section = readFileSync(join(root, 'docs/design.md'), 'utf8').split(/^## The lattice$/m)[1];
  expect(/^```\w*\n(.*?)\n```$/ms.exec(section)?.[1]).toBe(lattice);
});

it('biome reports import cycles', () => {
  const circle = ['src/nn/cycle_a.ts', 'src/nn/cycle_b.ts'];
  writeFileSync(join(copy, circle[0]), `export { b } from './cycle_b.ts';\nexport const a = 1;\n`);
  writeFileSync(join(copy, circle[1]), `export { a } from './cycle_a.ts';\nexport const b = 1;\n`);
  const { stdout } = spawnSync(process.execPath, [biome, 'lint', '--max-diagnostics=1000', '--reporter=json'], {
    cwd: copy,
    encoding: 'utf8',
  });
  const { diagnostics } = JSON.parse(stdout) as { diagnostics: { category: string; location: { path: string } }[] };
  const found = diagnostics.map(({ category, location }) => `${category} ${location.path}`);
  expect(found.filter((entry) => entry.startsWith('lint/suspicious/noImportCycles')).sort()).toEqual(
    circle.map((file) => `lint/suspicious/noImportCycles ${file}`),
  );
});
