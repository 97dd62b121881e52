// Builds dist: TypeScript to JavaScript, and the kernel sources beside their launch code.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

rmSync(join(root, 'dist'), { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exit(1);

for (const file of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }))
  if (/\.(c|h|cu|cuh)$/.test(file)) cpSync(join(root, 'src', file), join(root, 'dist', file));

chmodSync(join(root, 'dist/cli/main.js'), 0o755);
