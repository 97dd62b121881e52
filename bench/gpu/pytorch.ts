// Runs the opponent: scripts of bench/pytorch, which the build puts next to this program, with a Python that has torch with CUDA.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { fromEnvironment, variables } from '../../src/device/environment.ts';
import { ValueError } from '../../src/errors.ts';
import type { ItemResult } from './results_file.ts';

export const scripts = ['ceilings', 'cudnn', 'baselines'] as const;

/**
 * The Python to use: RECTIFLOW_TORCH_PYTHON, else the first on the PATH; undefined if it has no torch with CUDA.
 * @throws ValueError if RECTIFLOW_TORCH_PYTHON names a command that cannot be run
 */
export function findTorch(): string | undefined {
  const named = fromEnvironment('RECTIFLOW_TORCH_PYTHON');
  const python = named ?? 'python3';
  const probe = 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else 1)';
  const { status, error } = spawnSync(python, ['-c', probe], { stdio: 'ignore', timeout: 60_000 });
  if (named !== undefined && (error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
    throw new ValueError(`RECTIFLOW_TORCH_PYTHON must be ${variables.RECTIFLOW_TORCH_PYTHON.expected}, got ${named}`);
  return status === 0 ? python : undefined;
}

/**
 * Runs a script, which prints its results after each measurement and ends by itself within about `seconds`. If it has to be stopped,
 * the results so far are returned.
 * @throws Error with the end of its standard error
 */
export function runScript(python: string, name: (typeof scripts)[number], seconds: number): ItemResult {
  const path = fileURLToPath(new URL(`./pytorch/${name}.py`, import.meta.url));
  const { signal, status, stdout, stderr } = spawnSync(python, [path, '--seconds', String(Math.floor(seconds))], {
    encoding: 'utf8',
    // Before the parent's limit, which would lose the results so far.
    timeout: (seconds + 10) * 1000,
    maxBuffer: 2 ** 26,
  });
  const last = stdout
    .trimEnd()
    .split('\n')
    .findLast((line) => line.startsWith('{'));
  if ((status !== 0 && signal === null) || last === undefined)
    throw new Error(`${name}.py ended with ${status ?? signal}: ${stderr.slice(-500)}`);
  const { detail, values } = JSON.parse(last) as Required<ItemResult>;
  // Warnings say what the opponent could not do, such as a fused kernel that did not apply.
  const warnings = stderr.trim() === '' ? '' : `; standard error: ${stderr.trim().slice(-500)}`;
  return { detail: `${detail}${signal ? '; stopped before its end' : ''}${warnings}`, values };
}
