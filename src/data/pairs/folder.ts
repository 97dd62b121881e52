// Reads one folder of pairs in place: by pair for training, by batch for checks. It supports both layouts
// (manifest.ts), and official files without a manifest.
//
// A shard is opened for each read: a million pairs in shards are thousands of files, file descriptors are scarce, and
// the page cache makes reopening cheap.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError, formatShape } from '../../errors.ts';
import { bytesOf } from '../../io/array.ts';
import { asFileError, openRegular, readRange } from '../../io/file.ts';
import { NpyRows, readNpy } from '../../io/index.ts';
import { npyHeader } from '../../io/numpy/npy.ts';
import { channelsLast } from '../layout.ts';
import { decodeEnd, drawStart, elementBytes } from './elements.ts';
import {
  batchCount,
  batchRange,
  columnHash,
  files,
  type PairManifest,
  type PairPlan,
  type PairShape,
  readJournal,
  readManifest,
} from './manifest.ts';
import { type PairSource, requireSource, sourceStart } from './source.ts';

/** Batch size if no manifest states it. */
const CHUNK = 128;

/** The pairs of one folder, by their index in it. */
export interface PairFolder {
  readonly path: string;
  readonly count: number;
  readonly shape: PairShape;
  /** Absent for files of the official code. */
  readonly manifest?: PairManifest;
  /** Whether z0 is stored; otherwise it is redrawn from its seed. */
  readonly storesStart: boolean;
  /** Number of pairs per batch. */
  readonly batch: number;
  /** The place of each pair's text or class in the table of manifest.condition; absent if it has none. */
  readonly column?: Int32Array;
  /** 2 index + flip of each pair's image in its source; absent for pairs that start from noise. */
  readonly sources?: Int32Array;
  /** z0 of a pair, f32 [H, W, C]. */
  start(index: number): Promise<Float32Array>;
  /** z1 of a pair, f32 [H, W, C]. */
  end(index: number): Promise<Float32Array>;
  /** The stored bytes of the solved end of batch `index`. */
  solvedBytes(index: number): Promise<Uint8Array>;
  /** Closes the files. */
  close(): Promise<void>;
}

/**
 * Opens a folder of pairs.
 * @param source the images that pairs in shards start from, if they do not start from noise
 * @returns undefined if the folder has no pairs
 * @throws FileError if the pairs are incomplete or damaged, or if the numbers of z0 and z1 differ
 */
export async function openPairFolder(path: string, source?: PairSource): Promise<PairFolder | undefined> {
  const names = await readdir(path).catch((error) => {
    throw asFileError(path, error);
  });
  const manifest = await readManifest(path);
  if (manifest && manifest.done < manifest.count) {
    const done = Math.min(manifest.count, (await readJournal(path)).length * manifest.batch);
    throw new FileError(
      path,
      `has ${done} of ${manifest.count} pairs; repeat the command that generates them, or move the folder away`,
    );
  }
  const { condition, noise } = manifest ?? {};
  const column =
    manifest &&
    condition &&
    (await readColumn(path, files.condition, manifest, condition.sha256, condition.table.length));
  let sources: Int32Array | undefined;
  if (manifest && noise?.law === 'images') {
    if (source) requireSource(path, noise, source);
    else if (manifest.layout === 'shards')
      throw new FileError(
        path,
        'stores no z0, and its pairs start from images: give the source that they were made with',
      );
    const images = source ? 2 * source.dataset.count : 2 ** 31;
    sources = await readColumn(path, files.source, manifest, noise.sha256, images);
  }
  if (manifest?.layout === 'shards') return ShardFolder.open(path, manifest, { column, sources, source });
  if (!manifest && !(names.includes(files.z0) && names.includes(files.z1))) return undefined;
  return OfficialFolder.open(path, manifest, { column, sources });
}

interface Columns {
  column?: Int32Array;
  sources?: Int32Array;
  source?: PairSource;
}

/**
 * Reads a column of places.
 * @throws FileError unless it has this SHA-256 and places below `most`
 */
async function readColumn(
  folder: string,
  name: string,
  { count }: PairManifest,
  sha256: string,
  most: number,
): Promise<Int32Array> {
  const path = join(folder, name);
  const header = npyHeader(name, { shape: [count], dtype: 'i32' });
  const { size } = await stat(path).catch((error) => {
    throw asFileError(path, error);
  });
  const bytes = header.length + 4 * count;
  if (size !== bytes) throw new FileError(path, `has ${size} bytes, expected ${bytes}; it is truncated or damaged`);
  const { dtype, shape, data } = await readNpy(path);
  if (!(data instanceof Int32Array) || shape.length !== 1 || shape[0] !== count)
    throw new FileError(path, `holds ${dtype} ${formatShape(shape)}, expected i32 [${count}]`);
  if (columnHash(data) !== sha256)
    throw new FileError(path, `does not have the checksum in its ${files.manifest}; it is damaged or of another store`);
  const at = data.findIndex((place) => place < 0 || place >= most);
  if (at >= 0) throw new FileError(path, `has ${data[at]} at pair ${at}, but its table has ${most} entries`);
  return data;
}

class OfficialFolder implements PairFolder {
  readonly path: string;
  readonly manifest: PairManifest | undefined;
  readonly count: number;
  readonly shape: PairShape;
  readonly batch: number;
  readonly column: Int32Array | undefined;
  readonly sources: Int32Array | undefined;
  readonly storesStart = true;
  private readonly z0: NpyRows;
  private readonly z1: NpyRows;

  private constructor(path: string, manifest: PairManifest | undefined, columns: Columns, z0: NpyRows, z1: NpyRows) {
    this.path = path;
    this.manifest = manifest;
    this.column = columns.column;
    this.sources = columns.sources;
    this.z0 = z0;
    this.z1 = z1;
    this.count = z0.count;
    this.shape = z0.shape.slice(1) as unknown as PairShape;
    this.batch = manifest?.batch ?? CHUNK;
  }

  static async open(path: string, manifest: PairManifest | undefined, columns: Columns): Promise<OfficialFolder> {
    const z0 = await NpyRows.open(join(path, files.z0));
    let z1: NpyRows | undefined;
    try {
      z1 = await NpyRows.open(join(path, files.z1));
      for (const file of [z0, z1])
        if (file.shape.length !== 4)
          throw new FileError(file.path, `holds ${formatShape(file.shape)}, expected [pairs, channels, height, width]`);
      if (formatShape(z0.shape.slice(1)) !== formatShape(z1.shape.slice(1)))
        throw new FileError(
          z1.path,
          `holds ${formatShape(z1.shape)}, expected the image shape of ${z0.path}, ${formatShape(z0.shape)}`,
        );
      if (z0.count !== z1.count) throw new FileError(z1.path, `has ${z1.count} rows, but ${z0.path} has ${z0.count}`);
      const said = manifest && formatShape([manifest.count, ...manifest.shape]);
      if (said && said !== formatShape(z1.shape))
        throw new FileError(z1.path, `holds ${formatShape(z1.shape)}, but its ${files.manifest} says ${said}`);
      return new OfficialFolder(path, manifest, columns, z0, z1);
    } catch (error) {
      await z0.close();
      await z1?.close();
      throw error;
    }
  }

  start(index: number): Promise<Float32Array> {
    return this.image(this.z0, index);
  }

  end(index: number): Promise<Float32Array> {
    return this.image(this.z1, index);
  }

  async solvedBytes(index: number): Promise<Uint8Array> {
    return bytesOf(await (this.manifest?.solved === 'z0' ? this.z0 : this.z1).rows(...batchRange(this, index)));
  }

  async close(): Promise<void> {
    await this.z0.close();
    await this.z1.close();
  }

  private async image(file: NpyRows, index: number): Promise<Float32Array> {
    const [channels, height, width] = this.shape;
    return channelsLast(await file.row(index), [1, height, width, channels]);
  }
}

class ShardFolder implements PairFolder {
  readonly path: string;
  readonly manifest: PairManifest;
  readonly column: Int32Array | undefined;
  readonly sources: Int32Array | undefined;
  private readonly source: PairSource | undefined;
  readonly storesStart = false;

  private constructor(path: string, manifest: PairManifest, { column, sources, source }: Columns) {
    this.path = path;
    this.manifest = manifest;
    this.column = column;
    this.sources = sources;
    this.source = source;
  }

  /** Opens the folder after checking that every shard exists and has the right size. */
  static async open(path: string, manifest: PairManifest, columns: Columns): Promise<ShardFolder> {
    const folder = new ShardFolder(path, manifest, columns);
    for (let index = 0; index < batchCount(manifest); index++) {
      const { file, length } = shardLayout(path, manifest, index);
      const { size } = await stat(file).catch((error) => {
        throw asFileError(file, error);
      });
      if (size !== length)
        throw new FileError(file, `has ${size} bytes, expected ${length}; it is truncated or damaged`);
    }
    return folder;
  }

  get count(): number {
    return this.manifest.count;
  }

  get shape(): PairShape {
    return this.manifest.shape;
  }

  get batch(): number {
    return this.manifest.batch;
  }

  async start(index: number): Promise<Float32Array> {
    const { noise } = this.manifest;
    if (noise.law === 'normal') return drawStart(index, noise, this.shape);
    const [source, places] = [this.source as PairSource, this.sources as Int32Array];
    return sourceStart(source, places[index], index, noise);
  }

  async end(index: number): Promise<Float32Array> {
    const shard = Math.floor(index / this.batch);
    return decodeEnd(await this.read(shard, index - shard * this.batch, 1), this.manifest);
  }

  solvedBytes(index: number): Promise<Uint8Array> {
    return this.read(index, 0, batchRange(this, index)[1]);
  }

  async close(): Promise<void> {}

  private async read(shard: number, first: number, count: number): Promise<Uint8Array> {
    const { file: path, offset, length, imageBytes } = shardLayout(this.path, this.manifest, shard);
    const handle = await openRegular(path, 'read');
    try {
      return await readRange({ path, handle, bytes: length }, offset + first * imageBytes, count * imageBytes);
    } finally {
      await handle.close();
    }
  }
}

/** The file of a shard, its header and length, the position of its elements, and the size of an image, all in bytes. */
export function shardLayout(folder: string, plan: PairPlan, index: number) {
  const [, count] = batchRange(plan, index);
  const header = npyHeader('z1', { shape: [count, ...plan.shape], dtype: plan.dtype });
  const [channels, height, width] = plan.shape;
  const imageBytes = channels * height * width * elementBytes(plan.dtype);
  const length = header.length + count * imageBytes;
  return { file: join(folder, files.shard(index)), header, offset: header.length, length, imageBytes };
}
