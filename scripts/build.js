// Builds dist: TypeScript to JavaScript, and what is read or run as it is beside it: kernel sources and a worker's script.
// dist/wasm is of `npm run build:wasm` and stays; a module that is older than the kernels is refused when it is opened.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

for (const name of existsSync(join(root, 'dist')) ? readdirSync(join(root, 'dist')) : [])
  if (name !== 'wasm') rmSync(join(root, 'dist', name), { recursive: true });

const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exit(1);

for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }))
  if (/\.(c|h|cu|cuh|js)$/.test(file)) cpSync(join(root, 'src', file), join(root, 'dist', file));

chmodSync(join(root, 'dist/cli/main.js'), 0o755);
