// Writes zip archives as torch.save lays them out: entries stored one after the other, their data aligned to 64 bytes,
// in zip64 where sizes or positions need it. Equal entries give equal bytes.
//
// per entry: local header | name | padding | bytes;   then per entry: directory header | name;   then the end record
//
// Source: PKWARE's APPNOTE.TXT 6.3.3, sections 4.3 and 4.5.3.
import { checksum } from './zip.ts';

export interface StoredEntry {
  name: string;
  bytes: Uint8Array;
}

const ALIGNMENT = 64;
const PADDING_ID = 0x4246; // "FB", as torch.save pads
const ZIP64_ID = 1;
const NO_DATE = (1 << 5) | 1; // the first date that zip can store, so that the bytes do not depend on the day
const UNKNOWN32 = 0xffffffff; // "look in the zip64 field"
const UNKNOWN16 = 0xffff;

/** Yields the archive in pieces, so that nothing is copied. */
export function* storedZip(entries: Iterable<StoredEntry>): Generator<Uint8Array> {
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, bytes } of entries) {
    const crc = checksum(bytes);
    const header = localHeader(name, bytes.length, crc, at);
    directory.push(directoryHeader(name, bytes.length, crc, at));
    yield header;
    yield bytes;
    at += header.length + bytes.length;
  }
  const headers = Buffer.concat(directory);
  yield headers;
  yield endRecord(directory.length, headers.length, at);
}

function localHeader(name: string, length: number, crc: number, at: number): Buffer {
  const zip64 = length >= UNKNOWN32 ? sizes64(length, length) : Buffer.alloc(0);
  const start = at + 30 + name.length + zip64.length + 4;
  const padding = Buffer.alloc(4 + ((ALIGNMENT - (start % ALIGNMENT)) % ALIGNMENT));
  padding.writeUInt16LE(PADDING_ID, 0);
  padding.writeUInt16LE(padding.length - 4, 2);
  const header = Buffer.alloc(30);
  header.writeUInt32LE(0x04034b50, 0);
  common(name, length, crc, zip64.length + padding.length).copy(header, 4);
  return Buffer.concat([header, Buffer.from(name), zip64, padding]);
}

function directoryHeader(name: string, length: number, crc: number, at: number): Buffer {
  const wide = length >= UNKNOWN32 || at >= UNKNOWN32;
  const zip64 = wide ? sizes64(length, length, at) : Buffer.alloc(0);
  const header = Buffer.alloc(46);
  header.writeUInt32LE(0x02014b50, 0);
  header.writeUInt16LE(45, 4);
  common(name, wide ? UNKNOWN32 : length, crc, zip64.length).copy(header, 6);
  header.writeUInt32LE(wide ? UNKNOWN32 : at, 42);
  return Buffer.concat([header, Buffer.from(name), zip64]);
}

// The 26 bytes that the local and the directory header share: version, flags, method (stored), date, CRC, sizes,
// lengths.
function common(name: string, length: number, crc: number, extraLength: number): Buffer {
  const fields = Buffer.alloc(26);
  fields.writeUInt16LE(45, 0);
  fields.writeUInt16LE(NO_DATE, 8);
  fields.writeUInt32LE(crc, 10);
  fields.writeUInt32LE(Math.min(length, UNKNOWN32), 14);
  fields.writeUInt32LE(Math.min(length, UNKNOWN32), 18);
  fields.writeUInt16LE(name.length, 22);
  fields.writeUInt16LE(extraLength, 24);
  return fields;
}

function sizes64(...values: number[]): Buffer {
  const field = Buffer.alloc(4 + 8 * values.length);
  field.writeUInt16LE(ZIP64_ID, 0);
  field.writeUInt16LE(8 * values.length, 2);
  values.forEach((value, i) => field.writeBigUInt64LE(BigInt(value), 4 + 8 * i));
  return field;
}

function endRecord(count: number, length: number, at: number): Buffer {
  const wide = count >= UNKNOWN16 || at + length >= UNKNOWN32;
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Math.min(count, UNKNOWN16), 8);
  end.writeUInt16LE(Math.min(count, UNKNOWN16), 10);
  end.writeUInt32LE(wide ? UNKNOWN32 : length, 12);
  end.writeUInt32LE(wide ? UNKNOWN32 : at, 16);
  if (!wide) return end;
  const end64 = Buffer.alloc(56);
  end64.writeUInt32LE(0x06064b50, 0);
  end64.writeBigUInt64LE(BigInt(end64.length - 12), 4);
  end64.writeUInt16LE(45, 12);
  end64.writeUInt16LE(45, 14);
  for (const [offset, value] of [
    [24, count],
    [32, count],
    [40, length],
    [48, at],
  ])
    end64.writeBigUInt64LE(BigInt(value), offset);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(at + length), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([end64, locator, end]);
}
