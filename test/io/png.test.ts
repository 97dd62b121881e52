// PNG files: images written by Pillow, round trips, bombs and damage.
import { crc32, deflateSync } from 'node:zlib';
import { encode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { FileError, ValueError } from '../../src/errors.ts';
import { decodePng, encodePng, readPng, writePng } from '../../src/io/index.ts';
import { damaged, fixture, readFixture, temporaryFolder } from './files.ts';

/** The 5 x 3 image of make_fixtures.py: channel c of pixel (x, y) is 50 x + 20 y + 3 c. */
function pixels(channels: number): Uint8Array {
  return Uint8Array.from({ length: 15 * channels }, (_, i) => {
    const pixel = Math.floor(i / channels);
    return 50 * (pixel % 5) + 20 * Math.floor(pixel / 5) + 3 * (i % channels);
  });
}

function chunk(type: string, body: Uint8Array): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), body]);
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  checksum.writeUInt32BE(crc32(typed));
  return Buffer.concat([length, typed, checksum]);
}

function png(
  width: number,
  height: number,
  depth: number,
  colourType: number,
  raw: Uint8Array,
  extra?: Buffer,
): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = colourType;
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  const middle = extra ? [extra] : [];
  const end = chunk('IEND', Buffer.alloc(0));
  return Buffer.concat([signature, chunk('IHDR', header), ...middle, chunk('IDAT', deflateSync(raw)), end]);
}

describe('files written by Pillow', () => {
  it.each([
    ['grey', 1],
    ['grey16', 1],
    ['rgb', 3],
    ['rgba', 4],
  ])('reads %s', async (name, channels) => {
    expect(await readPng(fixture(`${name}.png`))).toEqual({ width: 5, height: 3, channels, data: pixels(channels) });
  });

  it('reads one bit per pixel', async () => {
    const data = pixels(1).map((value) => (value >= 100 ? 255 : 0));
    expect(await readPng(fixture('bits.png'))).toEqual({ width: 5, height: 3, channels: 1, data });
  });

  it('reads a palette with transparency', async () => {
    const colours = [
      [255, 0, 0, 0],
      [0, 255, 0, 128],
      [0, 0, 255, 255],
    ];
    const data = Uint8Array.from(
      Array.from({ length: 15 }, (_, i) => colours[((i % 5) + Math.floor(i / 5)) % 3]).flat(),
    );
    expect(await readPng(fixture('palette.png'))).toEqual({ width: 5, height: 3, channels: 4, data });
  });
});

describe('writing', () => {
  it.each([1, 2, 3, 4])('round trip with %d channels, from any part of a buffer', async (channels) => {
    const image = { width: 5, height: 3, channels, data: pixels(channels) };
    const bytes = await encodePng(image);
    const shifted = new Uint8Array(bytes.length + 10).fill(7);
    shifted.set(bytes, 5);
    expect(await decodePng(shifted.subarray(5, 5 + bytes.length))).toEqual(image);
    const path = `${await temporaryFolder()}/a.png`;
    await writePng(path, image);
    expect(await readPng(path)).toEqual(image);
  });

  it('refuses impossible images', async () => {
    await expect(encodePng({ width: 2, height: 2, channels: 3, data: new Uint8Array(11) })).rejects.toThrow(/needs 12/);
    const pixel = { width: 1, height: 1, channels: 1, data: new Uint8Array(1) };
    await expect(encodePng(pixel, { level: 9 } as object)).rejects.toThrow(/expected options among texts, got "level"/);
    await expect(encodePng({ width: 0, height: 2, channels: 3, data: new Uint8Array(0) })).rejects.toThrow(ValueError);
    await expect(encodePng({ width: 1, height: 1, channels: 5, data: new Uint8Array(5) })).rejects.toThrow(ValueError);
  });
});

describe('hostile files', () => {
  it('reads interlaced images, and refuses the interlaced kinds that fast-png decodes wrongly', async () => {
    const image = { width: 5, height: 3, channels: 3, data: pixels(3) };
    expect(await decodePng(encode({ ...image, depth: 8 }, { interlace: 'Adam7' }))).toEqual(image);
    const bits = png(8, 1, 1, 0, new Uint8Array(2));
    bits[28] = 1;
    bits.writeUInt32BE(crc32(bits.subarray(12, 29)), 29);
    await expect(decodePng(bits)).rejects.toThrow(/interlaced with less than 8 bits/);
  });

  it.each([
    ['more pixels than the header says', png(2, 2, 8, 0, new Uint8Array(1e6)), /cannot be unpacked/],
    ['fewer pixels', png(2, 2, 8, 0, new Uint8Array(5)), /fewer pixels/],
    ['a size beyond the limit', png(2 ** 31 - 1, 2 ** 31 - 1, 16, 6, new Uint8Array(5)), /at most 1 GiB/],
    ['no pixels', png(0, 2, 8, 0, new Uint8Array(0)), /no image/],
    ['an unknown kind', png(1, 1, 4, 2, new Uint8Array(2)), /colour type 2 with 4 bits/],
    ['a missing palette', png(1, 1, 8, 3, new Uint8Array(2)), /has no palette/],
    ['a colour beyond the palette', png(1, 1, 8, 3, Uint8Array.of(0, 9), chunk('PLTE', new Uint8Array(3))), /palette/],
    [
      'two headers',
      png(1, 1, 8, 0, new Uint8Array(2), chunk('IHDR', new Uint8Array(13))),
      /must begin with the chunk IHDR/,
    ],
    ['text', Buffer.from('hello'), /not a PNG/],
  ])('refuses %s', async (_, bytes, message) => {
    await expect(decodePng(bytes, 'a.png')).rejects.toThrow(FileError);
    await expect(decodePng(bytes, 'a.png')).rejects.toThrow(message);
  });

  it('skips chunks that are not part of the picture, whatever they contain', async () => {
    const profile = chunk('iCCP', Buffer.concat([Buffer.from('x\0\0'), Buffer.from('not zlib')]));
    expect((await decodePng(png(1, 1, 8, 0, Uint8Array.of(0, 42), profile))).data).toEqual(Uint8Array.of(42));
  });

  it('reads or refuses every damaged copy', async () => {
    for (const name of ['rgb.png', 'palette.png'])
      for (const { what, bytes } of damaged(await readFixture(name))) {
        const result = await decodePng(bytes).catch((problem) => problem);
        if (!('data' in result)) expect(result, `${name}, ${what}`).toBeInstanceOf(FileError);
      }
  });
});
