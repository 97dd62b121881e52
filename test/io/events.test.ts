// Event files: published test vectors of the checksum, and every record read back by its definition. TensorBoard's own
// reader was tried on a resumed run with a damaged tail: it found every tag, and each step once.
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { crc32c } from '../../src/io/events.ts';
import { EventFile } from '../../src/io/index.ts';
import { decodeFields } from '../support/events.ts';

// RFC 3720, B.4.
it.each<[string, Uint8Array, number]>([
  ['nothing', new Uint8Array(0), 0],
  ['123456789', Buffer.from('123456789'), 0xe3069283],
  ['32 zeros', new Uint8Array(32), 0x8a9136aa],
  ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['0 to 31', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
])('crc32c of %s', (_, bytes, crc) => {
  expect(crc32c(bytes)).toBe(crc);
});

function records(path: string): Buffer[] {
  const bytes = readFileSync(path);
  const masked = (crc: number) => (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(masked(crc32c(bytes.subarray(at, at + 8))));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(masked(crc32c(data)));
    found.push(data);
    at += 16 + length;
  }
  return found;
}

it('writes version, purge, scalars and images', async () => {
  const file = await EventFile.open(join(mkdtempSync(join(tmpdir(), 'rectiflow-events-')), 'tensorboard'), 300);
  await file.scalars(300, { 'train/loss': 0.25, 'train/größe': -1e-3 });
  await file.image(2 ** 40, 'samples', { png: Buffer.from('png'), width: 300, height: 2, channels: 3 });
  await file.close();
  const [version, start, scalars, image] = records(file.path).map(decodeFields);
  expect(Math.abs((version[1][0] as number) - Date.now() / 1000)).toBeLessThan(60);
  expect(String(version[3][0])).toBe('brain.Event:2');
  expect(start[2]).toEqual([300]);
  expect(decodeFields(start[7][0] as Buffer)).toEqual({ 1: [1] });
  const values = decodeFields(scalars[5][0] as Buffer)[1].map((value) => decodeFields(value as Buffer));
  expect(values.map((value) => [String(value[1][0]), value[2][0]])).toEqual([
    ['train/loss', 0.25],
    ['train/größe', Math.fround(-1e-3)],
  ]);
  expect(image[2]).toEqual([2 ** 40]);
  const picture = decodeFields(decodeFields(decodeFields(image[5][0] as Buffer)[1][0] as Buffer)[4][0] as Buffer);
  expect([picture[1], picture[2], picture[3], String(picture[4][0])]).toEqual([[2], [300], [3], 'png']);
});

it('sorts after earlier files, in the same second and after the clock was set back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-events-'));
  let now = 1_700_000_000_000;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => now);
  const files: EventFile[] = [];
  for (const change of [0, 0, -3_600_000, -3_600_000, 1]) {
    now += change;
    const file = await EventFile.open(folder);
    await file.scalars(1, { loss: 1 });
    now -= 5000;
    await file.scalars(2, { loss: 1 });
    await file.close();
    files.push(file);
  }
  clock.mockRestore();
  expect(readdirSync(folder).sort()).toEqual(files.map(({ path }) => basename(path)));
  const times = files.flatMap(({ path }) => records(path).map((record) => decodeFields(record)[1][0] as number));
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(times[0]).toBe(1_700_000_000);
});
