// Builds the WebAssembly module of the kernels if it is out of date, as `npm run build:wasm` does.
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

let built = false;

export function buildWasm(): void {
  if (!built)
    execFileSync('npm', ['run', '--silent', 'build:wasm'], { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  built = true;
}
