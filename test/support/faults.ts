// A disk that fails on request, on Linux with a C compiler: test/support/faults.c describes its settings.
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('./faults.c', import.meta.url));
const library = join(mkdtempSync(join(tmpdir(), 'rectiflow-faults-')), 'faults.so');

/** Why the library is unavailable; undefined if it is built. */
export const noFaults: string | undefined = build();

function build(): string | undefined {
  if (process.platform !== 'linux') return 'needs LD_PRELOAD';
  const { status, stderr, error } = spawnSync(
    'cc',
    ['-shared', '-fPIC', '-O1', source, '-o', library, '-ldl', '-pthread'],
    {
      encoding: 'utf8',
    },
  );
  return status === 0 ? undefined : `needs cc: ${stderr || String(error)}`;
}

export interface Fault {
  /** Part of the paths that are affected. */
  path: string;
  op: 'write' | 'rename' | 'sync' | 'any';
  kind: 'EIO' | 'ENOSPC' | 'short' | 'kill' | 'stop';
  /** Which of these calls fails, counted from 1. */
  at: number;
}

/** The environment of a process in which the fault happens. */
export function faultEnvironment(fault?: Fault): NodeJS.ProcessEnv {
  const preloaded = { ...process.env, LD_PRELOAD: library };
  return fault ? { ...preloaded, ...faultVariables(fault) } : preloaded;
}

/** The variables of a fault, for a running process, which reads them at each call. */
export function faultVariables({ path, op, kind, at }: Fault): Record<string, string> {
  const number = kind === 'EIO' || kind === 'ENOSPC' ? String(constants.errno[kind]) : kind;
  return { FAULT_PATH: path, FAULT_OP: op, FAULT_KIND: number, FAULT_AT: String(at) };
}
