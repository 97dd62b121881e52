// `npm run check`: types, style and import rules (biome.json), and every kernel source built for WebAssembly.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { resolve } = createRequire(import.meta.url);
const tsc = resolve('typescript/bin/tsc');
const biome = resolve('@biomejs/biome/bin/biome');

function run(what, command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (status === 0) return;
  console.error(`check: ${what} failed${error ? `: ${error.message}` : ''}`);
  process.exit(1);
}

run('types', process.execPath, [tsc, '--noEmit', '-p', 'tsconfig.json']);
run('lint; `npx biome check --write` repairs most', process.execPath, [biome, 'check', '--error-on-warnings']);

const sources = readdirSync(join(root, 'src/kernels'), { recursive: true, encoding: 'utf8' }).filter((f) =>
  f.endsWith('.c'),
);
const flags = [
  '--target=wasm32',
  '-O1',
  '-msimd128',
  '-mbulk-memory',
  '-nostdlib',
  '-ffreestanding',
  '-Wall',
  '-Wextra',
  '-Werror',
];
for (const source of sources)
  run(`${source} for WebAssembly (needs clang)`, 'clang', [
    ...flags,
    '-Isrc/kernels',
    '-c',
    join('src/kernels', source),
    '-o',
    '/dev/null',
  ]);
console.log(`check: types, style, imports and ${sources.length} kernel files are in order`);
