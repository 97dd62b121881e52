// LMDB databases written by python-lmdb (fixtures/lsun/make_lsun.py), and files that must not crash the process:
// truncated, damaged, of another kind, or shortened while they are open.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { openLmdb } from '../../src/data/index.ts';
import { FileError } from '../../src/errors.ts';
import { lmdbOf } from '../support/lmdb.ts';

const fixtures = fileURLToPath(new URL('../fixtures/lsun/', import.meta.url));
const source = join(fixtures, 'church_outdoor_train_lmdb/data.mdb');
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-lmdb-'));
const PAGE = 4096;

function damagedCopy(change: (bytes: Buffer) => void): string {
  const bytes = readFileSync(source);
  change(bytes);
  const path = join(folder, 'damaged.mdb');
  writeFileSync(path, bytes);
  return path;
}

/** Opens a database and reads all of it. */
async function readAll(path: string): Promise<[key: string, value: Uint8Array][]> {
  using database = await openLmdb(path);
  return Array.from({ length: database.count }, (_, i) => [Buffer.from(database.key(i)).toString(), database.value(i)]);
}

/** Byte position of the current meta page. */
function metaOf(bytes: Buffer): number {
  return bytes.readBigUInt64LE(16 + 128) < bytes.readBigUInt64LE(PAGE + 16 + 128) ? PAGE : 0;
}

const rootOf = (bytes: Buffer) => Number(bytes.readBigUInt64LE(metaOf(bytes) + 16 + 112)) * PAGE;

it('reads keys in order and values in leaf and overflow pages, from a read-only folder', async () => {
  const readOnly = join(folder, 'read_only');
  mkdirSync(readOnly);
  copyFileSync(source, join(readOnly, 'data.mdb'));
  chmodSync(join(readOnly, 'data.mdb'), 0o444);
  chmodSync(readOnly, 0o555);
  const entries = await readAll(readOnly);
  expect(entries.map(([key]) => key)).toEqual(entries.map(([key]) => key).sort());
  expect(entries.map(([, value]) => createHash('sha1').update(value).digest('hex'))).toEqual(
    entries.map(([key]) => key),
  );
  expect(entries.map(([, value]) => value.length)).toEqual([1578, 1348, 1871, 2006, 1379, 646]);
});

it('keeps returned arrays valid after closing, and refuses later reads', async () => {
  const database = await openLmdb(source);
  const key = database.key(0);
  expect(() => database.value(6)).toThrow('has 6 keys; index 6 is out of range');
  database[Symbol.dispose]();
  database[Symbol.dispose]();
  expect(Buffer.from(key).toString()).toMatch(/^[0-9a-f]{40}$/);
  expect(() => database.value(0)).toThrow('was read after it was closed');
});

describe('refuses', () => {
  const cases: [what: string, change: (bytes: Buffer) => void, message: string | RegExp][] = [
    ['another kind of file', (bytes) => bytes.fill('random'), /is not an LMDB database: its magic number is 0x/],
    ['a second meta page of another kind', (bytes) => bytes.fill(0, PAGE, 2 * PAGE), 'is not an LMDB database'],
    ['another format', (bytes) => bytes.writeUInt32LE(2, 16 + 4), 'format 2; expected 1'],
    ['a page size of 0', (bytes) => bytes.writeUInt32LE(0, 16 + 24), 'a page size of 0'],
    ['several values per key', (bytes) => bytes.writeUInt16LE(4, metaOf(bytes) + 16 + 76), 'MDB_DUPSORT'],
    ['an impossible depth', (bytes) => bytes.writeUInt16LE(99, metaOf(bytes) + 16 + 78), 'depth 99'],
    ['a root beyond the end', (bytes) => bytes.writeBigUInt64LE(77n, metaOf(bytes) + 16 + 112), 'refers to page 77'],
    ['a wrong count', (bytes) => bytes.writeBigUInt64LE(7n, metaOf(bytes) + 16 + 104), 'declares 7 entries'],
    ['a page of another number', (bytes) => bytes.writeUInt32LE(1, rootOf(bytes)), 'has a wrong header in page'],
    ['a branch with one child', (bytes) => bytes.writeUInt16LE(18, rootOf(bytes) + 12), 'has 1 nodes in page'],
    ['a node beyond its page', (bytes) => bytes.writeUInt16LE(4090, rootOf(bytes) + 16), 'has node 0 out of bounds'],
    [
      'a page that is its own child',
      (bytes) => bytes.writeUInt16LE(rootOf(bytes) / PAGE, rootOf(bytes) + bytes.readUInt16LE(rootOf(bytes) + 16)),
      'has a wrong header',
    ],
    [
      'a value beyond the file',
      (bytes) => {
        const at = overflowNode(bytes);
        bytes.writeUInt16LE(0xffff, at + 2);
      },
      'out of the file',
    ],
  ];
  it.each(cases)('%s', async (_, change, message) => {
    const path = damagedCopy(change);
    await expect(openLmdb(path)).rejects.toThrow(FileError);
    await expect(openLmdb(path)).rejects.toThrow(message);
  });

  it.each([
    [0, 'it has 0 bytes'],
    [100, 'it has 100 bytes'],
    [PAGE, 'it has 4096 bytes'],
    [3 * PAGE, 'is truncated: its last page ends at byte 36864, the file at 12288'],
    [36863, 'is truncated'],
  ])('a file truncated at byte %d', async (bytes, message) => {
    const path = damagedCopy(() => {});
    truncateSync(path, bytes);
    await expect(openLmdb(path)).rejects.toThrow(message);
  });

  it('a folder without a database, and a missing folder', async () => {
    mkdirSync(join(folder, 'empty'));
    await expect(openLmdb(join(folder, 'empty'))).rejects.toThrow('empty/data.mdb: no such file or folder');
    await expect(openLmdb('/no/such')).rejects.toThrow('/no/such: no such file or folder');
  });
});

/** Byte position of the first node, among the current leaves, whose value is in overflow pages. */
function overflowNode(bytes: Buffer): number {
  const root = rootOf(bytes);
  const nodes = (page: number) =>
    Array.from(
      { length: (bytes.readUInt16LE(page + 12) - 16) / 2 },
      (_, i) => page + bytes.readUInt16LE(page + 16 + 2 * i),
    );
  const leaves = nodes(root).map((node) => bytes.readUInt16LE(node) * PAGE);
  const found = leaves.flatMap(nodes).find((node) => bytes.readUInt16LE(node + 4) === 1);
  if (found === undefined) throw new Error('the fixture has no overflow page');
  return found;
}

it('returns values or a RectiflowError for damage anywhere, and never crashes', async () => {
  const whole = readFileSync(source);
  const change = fc.record({
    page: fc.nat(whole.length / PAGE - 1),
    // The structure is in the headers, the tables of nodes and the nodes.
    at: fc.oneof(fc.nat(159), fc.nat(PAGE - 1)),
    byte: fc.oneof(fc.constantFrom(0, 1, 127, 255), fc.nat(255)),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      const path = damagedCopy((bytes) => {
        for (const { page, at, byte } of changes) bytes[page * PAGE + at] = byte;
      });
      await readAll(path).catch((error) => expect(error).toBeInstanceOf(FileError));
    }),
    { numRuns: 500 },
  );
});

it('throws an error with the new end of a file that becomes shorter while it is open', async () => {
  const path = join(folder, 'shortened.mdb');
  copyFileSync(source, path);
  using database = await openLmdb(path);
  const keys = Array.from({ length: database.count }, (_, i) => database.key(i));
  truncateSync(path, 2 * PAGE + 100);
  const attempts = [
    ...keys.map((_, i) => () => database.value(i)),
    // The page of the last key is still in memory; the other pages are read again.
    () => database.key(0),
  ];
  for (const attempt of attempts)
    try {
      attempt();
    } catch (error) {
      expect(error).toBeInstanceOf(FileError);
      expect((error as Error).message).toMatch(
        /became shorter while it was open: it ends at byte 8292, before byte \d+$/,
      );
    }
  expect(() => database.value(5)).toThrow('it ends at byte 8292');
  truncateSync(path, 0);
  for (let i = 0; i < database.count; i++) expect(() => database.value(i)).toThrow('it ends at byte 0');
});

it('keeps reading the old content of a file that is replaced or removed while it is open', async () => {
  const path = join(folder, 'removed.mdb');
  copyFileSync(source, path);
  using database = await openLmdb(path);
  const before = database.value(3);
  rmSync(path);
  writeFileSync(path, 'another');
  expect(database.value(3)).toEqual(before);
});

it('returns the same keys in any order of access', async () => {
  using database = await openLmdb(source);
  const keyOf = (i: number) => Buffer.from(database.key(i)).toString();
  const forward = Array.from({ length: database.count }, (_, i) => keyOf(i));
  const backward = Array.from({ length: database.count }, (_, i) => keyOf(database.count - 1 - i));
  expect(backward.reverse()).toEqual(forward);
  expect(forward).toEqual([...forward].sort());
});

it('reads a hundred entries, the first of which is empty', async () => {
  const entries = Array.from({ length: 100 }, (_, i) => {
    const key = `key${String(i).padStart(4, '0')}`;
    return [key, new Uint8Array(i * i).fill(i)] as const;
  });
  const path = join(folder, 'made.mdb');
  writeFileSync(path, lmdbOf(entries));
  expect(await readAll(path)).toEqual(entries.map(([key, value]) => [key, value]));
});

it('refuses a pipe, and a folder in place of the file', { timeout: 10_000 }, async () => {
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  await expect(openLmdb(join(folder, 'pipe'))).rejects.toThrow('pipe: is not a regular file');
  mkdirSync(join(folder, 'nested/data.mdb'), { recursive: true });
  await expect(openLmdb(join(folder, 'nested'))).rejects.toThrow('data.mdb: is not a regular file');
});
