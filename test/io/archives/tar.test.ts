// .tar.gz archives: files written by Python's tarfile in three formats, and damaged files.
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { FileError } from '../../../src/errors.ts';
import { tarGzFiles } from '../../../src/io/archives/tar.ts';
import { fixture, temporaryFolder } from '../files.ts';

async function names(path: string, wanted: (name: string) => boolean = () => true, maxBytes = 1000) {
  const found: string[] = [];
  for await (const { name, bytes } of tarGzFiles(path, wanted, maxBytes))
    found.push(`${name} ${bytes.length} ${Buffer.from(bytes.subarray(0, 8))}`);
  return found;
}

const files = ['empty 0 ', 'up 2 up', 'absolute 8 absolute', 'block 512 bbbbbbbb', 'last 513 llllllll'];

describe('files written by Python', () => {
  it.each(['gnu', 'pax', 'ustar'])('reads %s', async (format) => {
    const found = await names(fixture(`tar_${format}.tar.gz`));
    expect(found.filter((line) => !line.endsWith('4 deep'))).toEqual(files);
  });

  it.each(['gnu', 'pax'])('%s: reads a name of more than 100 bytes in full', async (format) => {
    expect(await names(fixture(`tar_${format}.tar.gz`), (name) => name === 'deep')).toEqual(['deep 4 deep']);
  });

  it('yields only the wanted files and writes nothing', async () => {
    const folder = await temporaryFolder();
    const path = `${folder}/a.tar.gz`;
    await writeFile(path, await readFile(fixture('tar_gnu.tar.gz')));
    expect(await names(path, (name) => name === 'up')).toEqual(['up 2 up']);
    expect(await readdir(folder)).toEqual(['a.tar.gz']);
  });

  it('refuses a wanted file that is too large', async () => {
    await expect(names(fixture('tar_gnu.tar.gz'), undefined, 512)).rejects.toThrow(/"last" has 513 bytes, more than/);
  });
});

describe('damaged archives', () => {
  it('reads or refuses every damaged header and every truncated file', async () => {
    const path = `${await temporaryFolder()}/a.tar.gz`;
    const tar = gunzipSync(await readFile(fixture('tar_ustar.tar.gz')));
    const copies = Array.from({ length: 512 }, (_, at) => {
      const copy = Buffer.from(tar);
      copy[512 + at] ^= 0x11;
      return gzipSync(copy);
    });
    const whole = gzipSync(tar);
    for (let length = 0; length < whole.length; length += 7) copies.push(whole.subarray(0, length));
    for (const bytes of copies) {
      await writeFile(path, bytes);
      const result = await names(path).catch((problem) => problem);
      if (!Array.isArray(result)) expect(result).toBeInstanceOf(FileError);
    }
    expect(copies.length).toBeGreaterThan(512);
  });

  it('names the fault', async () => {
    const folder = await temporaryFolder();
    const tar = gunzipSync(await readFile(fixture('tar_ustar.tar.gz')));
    for (const [bytes, message] of [
      [tar, /cannot be unpacked as \.tar\.gz: incorrect header check/],
      [gzipSync(tar.subarray(0, 1500)), /ends within a file; the archive is truncated/],
      [gzipSync(Buffer.alloc(512, 'text')), /is not a gzip of a tar archive/],
      [gzipSync(Buffer.concat([tar.subarray(0, 512), Buffer.alloc(512, 1)])), /the checksum of a header is wrong/],
    ] as const) {
      await writeFile(`${folder}/a.tar.gz`, bytes);
      await expect(names(`${folder}/a.tar.gz`)).rejects.toThrow(message);
    }
    await expect(names(`${folder}/none.tar.gz`)).rejects.toThrow(/none\.tar\.gz: no such file/);
  });
});
