// Locates the entries of an LMDB file by walking the main database from the current meta page through branch pages to
// leaf pages. Every number of a page is checked before it is used.
//
//   page:    number u64, pad u16, flags u16, lower u16, upper u16; then (lower - 16) / 2 offsets u16 of nodes
//   meta:    at byte 16 of pages 0 and 1: magic u32, version u32, address u64, map size u64, free database and main
//            database of 48 bytes each (page size u32 in the first, flags u16, depth u16, branch, leaf and overflow
//            pages, entries, root u64), last page u64, transaction u64; the later transaction is current
//   node:    a u16, b u16, c u16, key size u16, key, value
//   branch:  a + b 2^16 + c 2^32 is the child's page number
//   leaf:    a + b 2^16 is the value's size, c its flags; 1: the value is the number of the first overflow page instead,
//            and begins 16 bytes into that page
//
// All numbers are little-endian, like every machine that this package supports. Source: mdb.c of LMDB 0.9.24 (MDB_meta,
// MDB_page, MDB_node).
import { isWhole } from '../arguments.ts';
import { FileError } from '../errors.ts';
import { type ReadableFile, readRange } from '../io/file.ts';

const MAGIC = 0xbeefc0de;
const VERSION = 1;
const PAGE_HEADER = 16;
const NODE_HEADER = 8;
const META_BYTES = 136;
const [BRANCH, LEAF, META] = [0x01, 0x02, 0x08];
const TYPES = 0x6f;
const OVERFLOW_VALUE = 0x01;
const DUPLICATE_VALUES = 0x04;
const NO_PAGE = 2 ** 64;
/** Depth of the stack of a cursor in liblmdb. */
const MAX_DEPTH = 32;

/**
 * Positions of keys and values in the file, in the order of the keys: 22 bytes per entry, or 66 MB for three million.
 */
export class LmdbEntries {
  readonly pageSize: number;
  count = 0;
  keyAt = new Float64Array(64);
  keySize = new Uint16Array(64);
  valueAt = new Float64Array(64);
  valueSize = new Uint32Array(64);

  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  add(keyAt: number, keySize: number, valueAt: number, valueSize: number): void {
    if (this.count === this.keyAt.length) this.grow();
    this.keyAt[this.count] = keyAt;
    this.keySize[this.count] = keySize;
    this.valueAt[this.count] = valueAt;
    this.valueSize[this.count] = valueSize;
    this.count++;
  }

  private grow(): void {
    const copy = <T extends Float64Array | Uint32Array | Uint16Array>(into: T, from: T): T => {
      into.set(from);
      return into;
    };
    const capacity = 2 * this.count;
    this.keyAt = copy(new Float64Array(capacity), this.keyAt);
    this.keySize = copy(new Uint16Array(capacity), this.keySize);
    this.valueAt = copy(new Float64Array(capacity), this.valueAt);
    this.valueSize = copy(new Uint32Array(capacity), this.valueSize);
  }
}

interface Meta {
  pageSize: number;
  flags: number;
  depth: number;
  entries: number;
  root: number;
  lastPage: number;
  /** A bigint, because the comparison of two transactions decides which tree is read. */
  transaction: bigint;
}

/** Locates all entries. @throws FileError if the file is truncated, damaged or of another kind */
export async function lmdbEntries(file: ReadableFile): Promise<LmdbEntries> {
  const meta = await readMeta(file);
  if (meta.depth > 0 && meta.depth <= MAX_DEPTH) return new Walk(file, meta).entries();
  if (meta.depth > 0 || meta.root !== NO_PAGE || meta.entries !== 0)
    throw damageError(file, `has a tree of depth ${meta.depth} with ${meta.entries} entries`);
  return new LmdbEntries(meta.pageSize);
}

function damageError(file: ReadableFile, detail: string): FileError {
  return new FileError(file.path, `is a damaged LMDB database: it ${detail}`);
}

async function readMeta(file: ReadableFile): Promise<Meta> {
  const first = await metaAt(file, 0);
  const second = await metaAt(file, first.pageSize);
  if (second.pageSize !== first.pageSize)
    throw damageError(file, `has two page sizes, ${first.pageSize} and ${second.pageSize}`);
  const meta = first.transaction < second.transaction ? second : first;
  if (meta.flags !== 0)
    throw new FileError(
      file.path,
      `has database flags 0x${meta.flags.toString(16)} (MDB_DUPSORT is 0x4); expected none: plain keys, one value each`,
    );
  const needed = (meta.lastPage + 1) * meta.pageSize;
  if (needed > file.bytes)
    throw new FileError(file.path, `is truncated: its last page ends at byte ${needed}, the file at ${file.bytes}`);
  return meta;
}

async function metaAt(file: ReadableFile, position: number): Promise<Meta> {
  if (file.bytes < position + META_BYTES + PAGE_HEADER)
    throw new FileError(file.path, `is not an LMDB database, or is truncated: it has ${file.bytes} bytes`);
  const view = viewOf(await readRange(file, position, META_BYTES + PAGE_HEADER));
  const magic = view.getUint32(PAGE_HEADER, true);
  if (magic !== MAGIC || !(view.getUint16(10, true) & META))
    throw new FileError(
      file.path,
      `is not an LMDB database: its magic number is 0x${magic.toString(16)}, not 0xbeefc0de`,
    );
  const version = view.getUint32(PAGE_HEADER + 4, true);
  if (version !== VERSION)
    throw new FileError(
      file.path,
      `is an LMDB database of format ${version}; expected ${VERSION}, the format of LMDB 0.9`,
    );
  const pageSize = view.getUint32(PAGE_HEADER + 24, true);
  if (pageSize < 512 || pageSize > 65536 || (pageSize & (pageSize - 1)) !== 0)
    throw damageError(file, `has a page size of ${pageSize}`);
  return {
    pageSize,
    flags: view.getUint16(PAGE_HEADER + 76, true),
    depth: view.getUint16(PAGE_HEADER + 78, true),
    entries: u64(view, PAGE_HEADER + 104),
    root: u64(view, PAGE_HEADER + 112),
    lastPage: u64(view, PAGE_HEADER + 120),
    transaction: view.getBigUint64(PAGE_HEADER + 128, true),
  };
}

/** Walks the tree from the root to every leaf, visiting each page once. */
class Walk {
  private readonly file: ReadableFile;
  private readonly meta: Meta;
  private readonly found: LmdbEntries;
  private pages = 0;

  constructor(file: ReadableFile, meta: Meta) {
    this.file = file;
    this.meta = meta;
    this.found = new LmdbEntries(meta.pageSize);
  }

  async entries(): Promise<LmdbEntries> {
    const { file, meta, found } = this;
    await this.visit(meta.root, 1);
    if (found.count !== meta.entries)
      throw damageError(file, `declares ${meta.entries} entries but has ${found.count}`);
    return found;
  }

  private async visit(page: number, level: number): Promise<void> {
    const { file, meta } = this;
    const { pageSize, lastPage, depth } = meta;
    const fail = (detail: string) => damageError(file, `${detail} in page ${page}`);
    // More visits than pages: some page has two parents, or is its own ancestor.
    if (++this.pages > lastPage) throw fail('has a loop');
    if (page < 2 || page > lastPage) throw damageError(file, `refers to page ${page}, its last is ${lastPage}`);
    const view = viewOf(await readRange(file, page * pageSize, pageSize));
    const type = view.getUint16(10, true) & TYPES;
    const lower = view.getUint16(12, true);
    const count = (lower - PAGE_HEADER) / 2;
    // A branch has at least two children, and all leaves have the same depth.
    if (u64(view, 0) !== page || type !== (level === depth ? LEAF : BRANCH) || lower > pageSize)
      throw fail('has a wrong header');
    if (!isWhole(count, type === BRANCH ? 2 : 1)) throw fail(`has ${count} nodes`);
    for (let i = 0; i < count; i++) {
      const node = view.getUint16(PAGE_HEADER + 2 * i, true);
      if (node < lower || node + NODE_HEADER > pageSize) throw fail(`has node ${i} out of bounds`);
      const low = view.getUint32(node, true);
      const high = view.getUint16(node + 4, true);
      const keySize = view.getUint16(node + 6, true);
      const value = node + NODE_HEADER + keySize;
      if (type === LEAF && high & DUPLICATE_VALUES) throw fail(`has several values at node ${i}`);
      if (value > pageSize) throw fail(`has the key of node ${i} out of bounds`);
      if (type === BRANCH) {
        await this.visit(low + high * 2 ** 32, level + 1);
        continue;
      }
      const far = (high & OVERFLOW_VALUE) !== 0;
      if (value + (far ? 8 : low) > pageSize) throw fail(`has the value of node ${i} out of bounds`);
      const begin = far ? u64(view, value) * pageSize + PAGE_HEADER : page * pageSize + value;
      if (far && (begin < 2 * pageSize || begin + low > (lastPage + 1) * pageSize))
        throw fail(`has the value of node ${i} out of the file`);
      this.found.add(page * pageSize + node + NODE_HEADER, keySize, begin, low);
    }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Rounds above 2^53, which no page number or size of a real file exceeds. */
function u64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}
