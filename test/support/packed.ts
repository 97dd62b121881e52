// The package as it is published.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Packed {
  /** Size of the archive. */
  bytes: number;
  /** The files in it with their sizes. */
  files: { path: string; size: number }[];
}

/** @param folder where the archive is unpacked; it is created */
export function packPackage(folder: string): Packed {
  const archives = mkdtempSync(join(tmpdir(), 'rectiflow-pack-'));
  try {
    const words = ['pack', '--ignore-scripts', '--json', '--pack-destination', archives];
    const out = execFileSync('npm', words, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] });
    const [{ filename, size, files }] = JSON.parse(String(out));
    mkdirSync(folder, { recursive: true });
    execFileSync('tar', ['-xzf', join(archives, filename), '--strip-components=1', '-C', folder]);
    return { bytes: size, files };
  } finally {
    rmSync(archives, { recursive: true });
  }
}
