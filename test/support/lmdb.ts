// Makes a small LMDB file (the format is in src/data/lmdb_pages.ts): one leaf page, values in overflow pages.
const PAGE = 4096;

/** @param entries in the order of their keys, at most about a hundred */
export function lmdbOf(entries: readonly (readonly [key: string, value: Uint8Array])[]): Buffer {
  const leaf = Buffer.alloc(PAGE);
  const pages: Buffer[] = [Buffer.alloc(PAGE), Buffer.alloc(PAGE), leaf];
  let upper = PAGE;
  for (const [i, [key, value]] of entries.entries()) {
    const first = pages.length;
    const overflow = Buffer.alloc(Math.ceil((16 + value.length) / PAGE) * PAGE);
    overflow.writeBigUInt64LE(BigInt(first), 0);
    overflow.writeUInt16LE(0x04, 10);
    overflow.writeUInt32LE(overflow.length / PAGE, 12);
    overflow.set(value, 16);
    for (let at = 0; at < overflow.length; at += PAGE) pages.push(overflow.subarray(at, at + PAGE));
    const length = (8 + key.length + 8 + 1) & ~1;
    upper -= length;
    leaf.writeUInt32LE(value.length, upper);
    leaf.writeUInt16LE(0x01, upper + 4);
    leaf.writeUInt16LE(key.length, upper + 6);
    leaf.write(key, upper + 8);
    leaf.writeBigUInt64LE(BigInt(first), upper + 8 + key.length);
    leaf.writeUInt16LE(upper, 16 + 2 * i);
  }
  leaf.writeBigUInt64LE(2n, 0);
  leaf.writeUInt16LE(0x02, 10);
  leaf.writeUInt16LE(16 + 2 * entries.length, 12);
  leaf.writeUInt16LE(upper, 14);
  for (const number of [0, 1]) {
    const meta = pages[number];
    meta.writeBigUInt64LE(BigInt(number), 0);
    meta.writeUInt16LE(0x08, 10);
    meta.writeUInt32LE(0xbeefc0de, 16);
    meta.writeUInt32LE(1, 20);
    meta.writeBigUInt64LE(2n ** 20n, 32);
    meta.writeUInt32LE(PAGE, 40);
    // The free database is empty.
    meta.writeBigUInt64LE(2n ** 64n - 1n, 80);
    meta.writeUInt16LE(1, 94);
    meta.writeBigUInt64LE(1n, 104);
    meta.writeBigUInt64LE(BigInt(pages.length - 3), 112);
    meta.writeBigUInt64LE(BigInt(entries.length), 120);
    meta.writeBigUInt64LE(2n, 128);
    meta.writeBigUInt64LE(BigInt(pages.length - 1), 136);
    meta.writeBigUInt64LE(BigInt(number), 144);
  }
  return Buffer.concat(pages);
}
