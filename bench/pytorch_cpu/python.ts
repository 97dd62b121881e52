// Finds a Python with PyTorch, or creates a virtual environment next to the benchmarks once.
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ENVIRONMENT = fileURLToPath(new URL('../.venv', import.meta.url));
const PACKAGES = ['torch==2.13.0', 'numpy'];

/**
 * The named Python, else RECTIFLOW_TORCH_PYTHON, else bench/.venv, which is created if it does not exist.
 * @param say receives progress
 * @throws Error saying what is missing and what to do
 */
export function findPython(named: string | undefined, say: (text: string) => void): string {
  const given = named ?? process.env.RECTIFLOW_TORCH_PYTHON;
  if (given !== undefined) {
    const { status, error, stderr } = run(given, ['-c', 'import numpy, torch']);
    if (status === 0) return given;
    throw new Error(`${given} cannot import torch and numpy: ${error?.message ?? lastLine(stderr)}`);
  }
  const python = join(ENVIRONMENT, 'bin', 'python');
  if (!existsSync(python)) makeEnvironment(python, say);
  return python;
}

function makeEnvironment(python: string, say: (text: string) => void): void {
  say(`making bench/.venv with ${PACKAGES.join(' and ')}: a download of its size, once`);
  for (const [command, args] of [
    ['python3', ['-m', 'venv', ENVIRONMENT]],
    [python, ['-m', 'pip', 'install', '--quiet', ...PACKAGES]],
  ] as const) {
    const { status, error, stderr } = run(command, args);
    if (status === 0) continue;
    rmSync(ENVIRONMENT, { recursive: true, force: true });
    throw new Error(
      `${command} ${args.join(' ')} failed: ${error?.message ?? lastLine(stderr)}. ` +
        '--python PATH or RECTIFLOW_TORCH_PYTHON names a Python that has PyTorch',
    );
  }
}

function run(command: string, args: readonly string[]) {
  return spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';
