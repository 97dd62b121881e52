// Helpers of the tests of this folder: fixtures, a temporary folder, and damaged copies of good bytes.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** The path of a file that test/fixtures/io/make_fixtures.py wrote. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/io/${name}`, import.meta.url));
}

export function readFixture(name: string): Promise<Uint8Array> {
  return readFile(fixture(name));
}

/** An empty folder that is removed when the running test ends. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'rectiflow-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Every beginning of the bytes, then copies with one byte changed in four ways. */
export function* damaged(bytes: Uint8Array): Generator<{ what: string; bytes: Uint8Array }> {
  for (let length = 0; length < bytes.length; length++)
    yield { what: `cut to ${length} bytes`, bytes: bytes.slice(0, length) };
  for (let at = 0; at < bytes.length; at++)
    for (const change of [0x01, 0x10, 0x80, 0xff]) {
      const copy = bytes.slice();
      copy[at] ^= change;
      yield { what: `byte ${at} xor ${change}`, bytes: copy };
    }
}
