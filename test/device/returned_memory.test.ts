// Memory that the device cpu has freed really goes back to the system: measured in a process of its own.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { MemoryReport } from '../support/memory_child.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

test.skipIf(!existsSync('/proc/self/status'))(
  'freed memory is kept up to a limit, and returned when asked',
  () => {
    const words = ['--import', 'jiti/register', 'test/support/memory_child.ts'];
    const out = execFileSync(process.execPath, words, { cwd: root, encoding: 'utf8' });
    const { start, live, freed, trimmed, changing } = JSON.parse(out) as MemoryReport;
    // 8 tensors of 64 MiB.
    expect(live - start).toBeGreaterThan(500);
    // They stay for tensors of the same size, until the program asks.
    expect(freed - start).toBeGreaterThan(500);
    expect(trimmed - start).toBeLessThan(64);
    // Twelve pairs of other sizes: 1.8 GB in all, at most 172 MiB at a time, and 256 MiB are kept.
    expect(changing - start).toBeLessThan(172 + 256 + 64);
  },
  60_000,
);
