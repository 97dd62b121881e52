// No call of a public function of the engine ends the process, whatever its arguments, and every refusal is a RectiflowError.
// All functions are called with ordinary mistakes, then with random arguments.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { full as longer } from '../support/devices.ts';
import type { ScanReport } from '../support/scan_child.ts';
import { buildWasm } from '../support/wasm.ts';

const child = fileURLToPath(new URL('../support/scan_child.ts', import.meta.url));
const register = new URL('../../node_modules/jiti/lib/jiti-register.mjs', import.meta.url).href;
const RUNS = longer ? 200_000 : 20_000;

async function scan(device: string, seed: number): Promise<ScanReport> {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-scan-'));
  const journal = join(folder, 'journal');
  try {
    const values = ['--import', register, child, device, journal, String(seed), String(RUNS)];
    const run = spawn(process.execPath, values, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
    const [out, err] = [run.stdout, run.stderr].map((stream) => text(stream));
    const ended = await new Promise<string>((resolve) =>
      run.on('close', (code, signal) => resolve(String(signal ?? code))),
    );
    if (ended !== '0') throw new Error(`${ended} in ${readFileSync(journal, 'utf8').trim()}\n${await err}`);
    return JSON.parse((await out).trim().split('\n').at(-1) as string) as ScanReport;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  let all = '';
  for await (const chunk of stream) all += chunk;
  return all;
}

describe.each(['cpu', 'wasm'])('on %s', (name) => {
  it('refuses mistakes and random arguments by name, without ending the process', async () => {
    if (name === 'wasm') buildWasm();
    const { functions, calls, refused, faults } = await scan(name, 20221);
    expect(faults).toEqual([]);
    expect(functions).toBeGreaterThan(150);
    expect(calls).toBeGreaterThan(RUNS);
    expect(refused).toBeGreaterThan(calls / 2);
  }, 600_000);
});
