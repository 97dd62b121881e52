// .npz files: archives written by NumPy and Python's zipfile, round trips, zip bombs and damage.
import { readFile, stat, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { FileError, ValueError } from '../../../src/errors.ts';
import { type ArrayFile, decodeNpz, readNpz, writeNpz } from '../../../src/io/index.ts';
import { damaged, fixture, readFixture, temporaryFolder } from '../files.ts';

const pool: ArrayFile = { shape: [2, 3, 4], dtype: 'f32', data: Float32Array.from({ length: 24 }, (_, i) => i / 8) };
const labels: ArrayFile = { shape: [5], dtype: 'i64', data: BigInt64Array.of(0n, 1n, 2n, 3n, 4n) };

describe('files written by NumPy', () => {
  it.each(['stored', 'deflated', 'streamed'])('reads %s', async (name) => {
    const arrays = await readNpz(fixture(`${name}.npz`));
    expect([...arrays]).toEqual([
      ['pool_3', pool],
      ['labels', labels],
    ]);
  });

  it('reads some arrays only', async () => {
    const path = fixture('deflated.npz');
    expect([...(await readNpz(path, { names: ['labels'] })).keys()]).toEqual(['labels']);
    await expect(readNpz(path, { names: ['mu'] })).rejects.toThrow(/has no array "mu"; it has pool_3, labels/);
  });

  it('never unpickles', async () => {
    await expect(readNpz(fixture('objects.npz'))).rejects.toThrow(/objects\.npz, bad\.npy: holds pickled/);
  });
});

describe('bytes in memory', () => {
  it.each(['stored', 'deflated', 'streamed'])('are decoded as the file %s is read', async (name) => {
    const bytes = await readFixture(`${name}.npz`);
    expect([...(await decodeNpz(bytes))]).toEqual([...(await readNpz(fixture(`${name}.npz`)))]);
    expect([...(await decodeNpz(bytes, { names: ['labels'] })).values()]).toEqual([labels]);
    await expect(decodeNpz(bytes, { names: ['mu'], name: 'a.npz' })).rejects.toThrow(
      /a\.npz: has no array "mu"; it has pool_3, labels/,
    );
  });

  it('that this package wrote, within a larger buffer', async () => {
    const path = `${await temporaryFolder()}/a.npz`;
    await writeNpz(path, { pool, labels }, { compress: true });
    const file = await readFile(path);
    const within = new Uint8Array(file.length + 20);
    within.set(file, 7);
    const arrays = await decodeNpz(within.subarray(7, 7 + file.length));
    expect([...arrays]).toEqual(Object.entries({ pool, labels }));
  });

  it('are never unpickled', async () => {
    await expect(decodeNpz(await readFixture('objects.npz'))).rejects.toThrow(/npz, bad\.npy: holds pickled/);
  });

  it.each(['stored', 'deflated'])('that are damaged are refused, or decode to the same arrays: %s', async (name) => {
    const good = await readFixture(`${name}.npz`);
    const expected = [...(await decodeNpz(good))];
    let refused = 0;
    for (const { what, bytes } of damaged(good)) {
      const found = await decodeNpz(bytes).catch((error: unknown) => error);
      if (found instanceof FileError) refused++;
      else if (found instanceof Map)
        // A name or a date may be damaged, or an entry lost, without harm to the values of the others.
        for (const value of found.values())
          expect(
            expected.map(([, one]) => one),
            what,
          ).toContainEqual(value);
      else expect(found, what).toBeInstanceOf(FileError);
    }
    expect(refused).toBeGreaterThan(good.length);
  });

  it('that declare more than they may are refused before they are unpacked', async () => {
    const bytes = (await readFixture('deflated.npz')).slice();
    const view = new DataView(bytes.buffer);
    const at = bytes.findIndex((_, i) => i + 4 <= bytes.length && view.getUint32(i, true) === 0x02014b50);
    view.setUint32(at + 24, 2 ** 31, true);
    await expect(decodeNpz(bytes)).rejects.toThrow(/unpacks to 2147\d+ bytes; at most 32 times the file or 64 MiB/);
    view.setUint32(at + 24, 0xffffffff, true);
    await expect(decodeNpz(bytes)).rejects.toThrow(/zip64/);
    await expect(decodeNpz(new Uint8Array(5))).rejects.toThrow(/its directory is missing/);
  });
});

describe('writing', () => {
  it.each([false, true])('round trip, compress: %s', async (compress) => {
    const path = `${await temporaryFolder()}/a.npz`;
    const big: ArrayFile = {
      shape: [700, 1000],
      dtype: 'i32',
      data: Int32Array.from({ length: 7e5 }, (_, i) => i % 99),
    };
    await writeNpz(path, { pool, labels, big }, { compress });
    expect([...(await readNpz(path))]).toEqual(Object.entries({ pool, labels, big }));
    expect((await stat(path)).size < 2e6).toBe(compress);
  });

  it('writes equal bytes for equal arrays', async () => {
    const folder = await temporaryFolder();
    await writeNpz(`${folder}/a.npz`, { pool }, { compress: true });
    await writeNpz(`${folder}/b.npz`, new Map([['pool', pool]]), { compress: true });
    expect(await readFile(`${folder}/a.npz`)).toEqual(await readFile(`${folder}/b.npz`));
  });

  it('names what it cannot write', async () => {
    const folder = await temporaryFolder();
    await expect(writeNpz(`${folder}/a.npz`, { '../x': pool })).rejects.toThrow(ValueError);
    await expect(writeNpz(`${folder}/none/a.npz`, { pool })).rejects.toThrow(/none\/a\.npz: no such file or folder/);
  });
});

describe('hostile archives', () => {
  it('refuses an archive that unpacks to too much', async () => {
    await expect(readNpz(fixture('deflated.npz'), { maxBytes: 300 })).rejects.toThrow(/pass maxBytes/);
  });

  it('refuses a declared size that deflate cannot reach', async () => {
    const path = `${await temporaryFolder()}/bomb.npz`;
    const bytes = Buffer.from(await readFixture('deflated.npz'));
    const directory = bytes.indexOf(Buffer.from('PK\x01\x02'));
    bytes.writeUInt32LE(0xf0000000, directory + 24);
    await writeFile(path, bytes);
    await expect(readNpz(path)).rejects.toThrow(/declares a size/);
  });

  it('refuses overlapping entries', async () => {
    const path = `${await temporaryFolder()}/quilt.npz`;
    const folder = await temporaryFolder();
    await writeNpz(`${folder}/a.npz`, { x: pool, y: pool });
    const bytes = await readFile(`${folder}/a.npz`);
    const first = bytes.indexOf(Buffer.from('PK\x01\x02'));
    const end = bytes.indexOf(Buffer.from('PK\x05\x06'));
    // The local entries once, their directory headers twenty times under new names.
    const copies = Array.from({ length: 20 }, (_, i) => {
      const copy = Buffer.from(bytes.subarray(first, end));
      copy[46] = 65 + i;
      copy[(end - first) / 2 + 46] = 97 + i;
      return copy;
    });
    const tail = Buffer.from(bytes.subarray(end));
    tail.writeUInt16LE(40, 8);
    tail.writeUInt16LE(40, 10);
    tail.writeUInt32LE(20 * (end - first), 12);
    await writeFile(path, Buffer.concat([bytes.subarray(0, first), ...copies, tail]));
    await expect(readNpz(path)).rejects.toThrow(/overlap/);
  });

  it('reads or refuses every damaged copy', async () => {
    const path = `${await temporaryFolder()}/damaged.npz`;
    for (const { what, bytes } of damaged(await readFixture('deflated.npz'))) {
      await writeFile(path, bytes);
      const error = await readNpz(path).catch((problem) => problem);
      if (!(error instanceof Map)) expect(error, what).toBeInstanceOf(FileError);
    }
  });

  it('names a missing file, a folder and a file of another kind', async () => {
    await expect(readNpz('/nowhere/x.npz')).rejects.toThrow(/^\/nowhere\/x\.npz: no such file/);
    await expect(readNpz('/')).rejects.toThrow(/not a regular file/);
    await expect(readNpz(fixture('f32.npy'))).rejects.toThrow(/cannot be read as \.npz/);
  });
});
