// Writes pairs so that no solved batch is lost: a batch is written to disk, then to the journal, before the next one
// starts. A process that is killed at any moment and started again ends with the same bytes.
//
// layout "official": batches are appended to z1.npy.part; at the end z0.npy is drawn and the part is renamed. If z0 is
//                    solved, batches go to z0.npy.part, and z1.npy is written from the images
// layout "shards": one file per batch, each written atomically
// With conditions, condition.npy is written after the last batch, and source.npy if the pairs start from images.
// Finally manifest.json takes over the content of the journal, and the journal is removed.
import { createHash } from 'node:crypto';
import { type FileHandle, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { byOpen, checkArgument, checkArguments, checkByOpen, kinds } from '../../arguments.ts';
import { FileError, ValueError } from '../../errors.ts';
import { asFileError, exists, openRegular, withFile } from '../../io/file.ts';
import { checkGuards } from '../../io/guard.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { npyHeader, writeNpy } from '../../io/numpy/npy.ts';
import { drawStart, elementBytes, encodeEnds } from './elements.ts';
import { shardLayout } from './folder.ts';
import {
  batchCount,
  batchRange,
  checkPlan,
  columnHash,
  files,
  meanNfe,
  type PairPlan,
  type PairShard,
  readJournal,
  readManifest,
  shardLine,
  solvedFiles,
  writeManifest,
} from './manifest.ts';
import { writePairFile } from './set.ts';
import { type PairSource, pairSourceKind, sourceStart } from './source.ts';

const journal = /^progress\.jsonl$/;
const ends = /^(z[01]\.npy\.part|z1_\d+\.npy|condition\.npy|source\.npy)$/;
/** Where pairs start that start from images. */
export interface PairStarts {
  source: PairSource;
  /** i32 [count], as sourceColumn() gives it. */
  column: Int32Array;
}

/** Temporary files that a killed process may leave (io/atomic.ts). */
const leftover =
  /^\.(manifest\.json|progress\.jsonl|z[01]\.npy|z1_\d+\.npy|condition\.npy|source\.npy)\.[0-9a-f]{12}\.tmp$/;

/**
 * Writes solved batches, one after the other. There is one writer per folder: the caller holds its lock.
 * @example
 * import { mkdirSync } from 'node:fs';
 *
 * mkdirSync('mine/0', { recursive: true });
 * const writer = await PairWriter.open('mine/0', {
 *   layout: 'shards', dtype: 'f32', shape: [1, 8, 8], count: 6, batch: 4,
 *   noise: { law: 'normal', seed: 0, stream: 2, scale: 1 }, teacher: '0'.repeat(64), sampler: { name: 'euler', steps: 9 },
 *   package: '0.1.0', device: 'cpu', config: {},
 * }, () => {});
 * for (const n of [4, 2]) await writer.write(new Float32Array(n * 64), 9);
 * await writer.finish();
 * await writer.close();
 * (await readManifest('mine/0')).done; // 6
 */
export class PairWriter {
  private readonly folder: string;
  private readonly plan: PairPlan;
  private readonly shards: PairShard[];
  private readonly ends: Ends;
  private readonly journal: FileHandle;
  private readonly column: Int32Array | undefined;
  private readonly starts: PairStarts | undefined;

  private constructor(
    token: symbol,
    folder: string,
    plan: PairPlan,
    columns: { column?: Int32Array; starts?: PairStarts },
    shards: PairShard[],
    ends: Ends,
    journal: FileHandle,
  ) {
    checkByOpen('PairWriter', token);
    this.folder = folder;
    this.plan = plan;
    this.column = columns.column;
    this.starts = columns.starts;
    this.shards = shards;
    this.ends = ends;
    this.journal = journal;
  }

  /**
   * Starts a folder of pairs, or resumes one.
   * @param compare called with the plan of the folder to resume; throws if it is a different one
   * @param column for a plan with a condition: i32 [count], the one that pairCondition() described
   * @param starts for a plan whose pairs start from images: the images, and the column of sourceColumn()
   * @throws FileError if the folder is complete, or has pairs without a manifest; ValueError for another column
   */
  static async open(
    folder: string,
    plan: PairPlan,
    compare: (begun: PairPlan) => void,
    column?: Int32Array,
    starts?: PairStarts,
  ): Promise<PairWriter> {
    checkArguments('PairWriter.open', { folder: [folder, kinds.path], compare: [compare, kinds.callback] });
    checkPlan('PairWriter.open', plan);
    checkColumn(plan, column);
    checkStarts(plan, starts);
    const begun = await readManifest(folder);
    if (begun?.done === begun?.count) {
      await remove(folder, begun ? [leftover, journal] : []);
      for (const name of [files.z0, files.z1, files.shard(0), files.manifest])
        if (await exists(join(folder, name)))
          throw new FileError(join(folder, name), 'exists already; use another --config.seed, or remove the folder');
    }
    const shards = begun ? await readJournal(folder) : [];
    const agreed = begun && shards.length > 0 ? begun : plan;
    if (agreed === begun) compare(begun);
    await remove(folder, agreed === begun ? [leftover] : [leftover, ends]);
    // A folder that has no batch yet may get a new plan.
    if (agreed === plan) await writeManifest(folder, { ...plan, done: 0, shards });
    let sink: Ends | undefined;
    let log: FileHandle | undefined;
    try {
      sink =
        agreed.layout === 'official' ? await PartFile.open(folder, agreed, starts) : new ShardFiles(folder, agreed);
      shards.length = Math.min(shards.length, batchCount(agreed), await sink.present());
      await sink.keep(shards.length);
      log = await beginJournal(join(folder, files.journal), shards);
      return new PairWriter(byOpen, folder, agreed, { column, starts }, shards, sink, log);
    } catch (error) {
      await sink?.close();
      await log?.close();
      throw asFileError(folder, error);
    }
  }

  /** Number of batches written. */
  get done(): number {
    return this.shards.length;
  }

  /** Mean number of network evaluations per pair, over the batches written. */
  get nfe(): number {
    return meanNfe(this.plan, this.shards);
  }

  /**
   * Writes the solved end of the next batch, f32 [n, H, W, C].
   * @param nfe network evaluations of the batch
   * @throws NonFiniteError for non-finite values, ValueError if the number of pairs is not that of the batch, FileError
   */
  async write(values: Float32Array, nfe: number): Promise<void> {
    checkArguments('PairWriter.write', { values: [values, kinds.float32], nfe: [nfe, kinds.notNegative] });
    if (this.done === batchCount(this.plan))
      throw new ValueError(`[PairWriter.write] expected at most ${this.done} batches, got another one`);
    const [channels, height, width] = this.plan.shape;
    const [first, count] = batchRange(this.plan, this.done);
    if (values.length !== count * channels * height * width)
      throw new ValueError(
        `batch ${this.done} has ${count} pairs of [${this.plan.shape}], got ${values.length} numbers`,
      );
    const { bytes, clipped } = encodeEnds(values, this.plan, first);
    const shard = { sha256: createHash('sha256').update(bytes).digest('hex'), nfe, clipped };
    try {
      checkGuards(this.folder);
      await this.ends.write(this.done, bytes);
      checkGuards(this.folder);
      await this.journal.appendFile(`${shardLine(shard)}\n`);
      await this.journal.datasync();
    } catch (error) {
      throw this.failure(error);
    }
    this.shards.push(shard);
  }

  /** The error to throw; if another process has taken over the folder, that takes precedence. */
  private failure(error: unknown): unknown {
    checkGuards(this.folder);
    return asFileError(this.folder, error);
  }

  /**
   * Completes the folder after the last batch.
   * @param images required if z0 was solved: every z1 in order, in batches of f32 [n, H, W, C]
   */
  async finish(images?: AsyncIterable<Float32Array>): Promise<void> {
    if (images !== undefined) checkArgument('PairWriter.finish', 'images', images, kinds.iterable);
    const batches = batchCount(this.plan);
    if (this.done < batches)
      throw new ValueError(`[PairWriter.finish] expected ${batches} batches, got ${this.done} so far`);
    try {
      await this.ends.finish(images);
      if (this.column)
        await writeNpy(join(this.folder, files.condition), {
          shape: [this.plan.count],
          dtype: 'i32',
          data: this.column,
        });
      if (this.starts)
        await writeNpy(join(this.folder, files.source), {
          shape: [this.plan.count],
          dtype: 'i32',
          data: this.starts.column,
        });
      await writeManifest(this.folder, { ...this.plan, done: this.plan.count, shards: this.shards });
      checkGuards(this.folder);
      await unlink(join(this.folder, files.journal));
    } catch (error) {
      throw this.failure(error);
    }
  }

  /** Closes the files; everything written is kept. */
  async close(): Promise<void> {
    await this.ends.close();
    await this.journal.close();
  }
}

/** @throws ValueError unless the column is the one of the plan, or neither exists */
function checkColumn({ condition, count }: PairPlan, column: Int32Array | undefined): void {
  if (column !== undefined) checkArgument('PairWriter.open', 'column', column, kinds.int32s);
  if ((condition === undefined) !== (column === undefined))
    throw new ValueError('[PairWriter.open] expected a plan with a condition and its column, or neither');
  if (!condition || !column) return;
  if (column.length !== count || columnHash(column) !== condition.sha256)
    throw new ValueError(`[PairWriter.open] expected the column of ${count} pairs that plan.condition describes`);
}

/** @throws ValueError unless the starts are those of the plan, or neither has images */
function checkStarts({ noise, count }: PairPlan, starts: PairStarts | undefined): void {
  if ((noise.law === 'images') !== (starts !== undefined))
    throw new ValueError(
      '[PairWriter.open] expected a plan whose pairs start from images and those images, or neither',
    );
  if (noise.law !== 'images' || !starts) return;
  checkArguments('PairWriter.open', {
    'starts.source': [starts.source, pairSourceKind],
    'starts.column': [starts.column, kinds.int32s],
  });
  if (starts.column.length !== count || columnHash(starts.column) !== noise.sha256)
    throw new ValueError(`[PairWriter.open] expected the column of ${count} pairs that plan.noise describes`);
}

async function remove(folder: string, patterns: readonly RegExp[]): Promise<void> {
  try {
    for (const name of await readdir(folder))
      if (patterns.some((pattern) => pattern.test(name))) await unlink(join(folder, name));
  } catch (error) {
    throw asFileError(folder, error);
  }
}

/** Writes a new journal file, so that a process that lost the folder and still has the old file open does no harm. */
async function beginJournal(path: string, shards: readonly PairShard[]): Promise<FileHandle> {
  await writeFileAtomic(path, [Buffer.from(shards.map((shard) => `${shardLine(shard)}\n`).join(''))]);
  return openRegular(path, 'append');
}

/** The destination of the solved batches. */
interface Ends {
  /** Number of complete batches on disk. */
  present(): Promise<number>;
  /** Drops everything after the first `batches` batches. */
  keep(batches: number): Promise<void>;
  write(index: number, bytes: Uint8Array): Promise<void>;
  finish(images?: AsyncIterable<Float32Array>): Promise<void>;
  close(): Promise<void>;
}

class PartFile implements Ends {
  private readonly folder: string;
  private readonly plan: PairPlan;
  private readonly handle: FileHandle;
  private readonly header: Uint8Array;
  private readonly imageBytes: number;
  private readonly starts: PairStarts | undefined;

  private constructor(folder: string, plan: PairPlan, handle: FileHandle, starts: PairStarts | undefined) {
    this.starts = starts;
    this.folder = folder;
    this.plan = plan;
    this.handle = handle;
    this.header = npyHeader(solvedFiles(plan).whole, { shape: [plan.count, ...plan.shape], dtype: 'f32' });
    this.imageBytes = plan.shape.reduce((product, dim) => product * dim, elementBytes('f32'));
  }

  static async open(folder: string, plan: PairPlan, starts?: PairStarts): Promise<PartFile> {
    const [part, whole] = [solvedFiles(plan).part, solvedFiles(plan).whole].map((name) => join(folder, name));
    // The process was killed between the rename and the manifest: repeat the last steps.
    if (await exists(whole)) {
      await withFile(whole, async () => {});
      await rename(whole, part);
    }
    return new PartFile(folder, plan, await openRegular(part, 'update'), starts);
  }

  async present(): Promise<number> {
    const { size } = await this.handle.stat();
    const pairs = Math.floor((size - this.header.length) / this.imageBytes);
    return pairs >= this.plan.count ? batchCount(this.plan) : Math.max(0, Math.floor(pairs / this.plan.batch));
  }

  async keep(batches: number): Promise<void> {
    await writeAll(this.handle, this.header, 0);
    await this.handle.truncate(this.offset(batches));
  }

  async write(index: number, bytes: Uint8Array): Promise<void> {
    await writeAll(this.handle, bytes, this.offset(index));
    await this.handle.datasync();
  }

  async finish(images?: AsyncIterable<Float32Array>): Promise<void> {
    const { count, shape, noise, solved } = this.plan;
    const from = this.starts;
    async function* starts() {
      for (let index = 0; index < count; index++)
        if (noise.law === 'normal') yield drawStart(index, noise, shape);
        else if (from) yield await sourceStart(from.source, from.column[index], index, noise);
    }
    if ((solved === 'z0') !== (images !== undefined)) throw new ValueError('images are for pairs whose z0 is solved');
    const { part, whole, other } = solvedFiles(this.plan);
    await writePairFile(join(this.folder, other), count, shape, images ?? starts());
    await this.handle.sync();
    checkGuards(this.folder);
    await rename(join(this.folder, part), join(this.folder, whole));
  }

  close(): Promise<void> {
    return this.handle.close();
  }

  private offset(batches: number): number {
    return this.header.length + Math.min(batches * this.plan.batch, this.plan.count) * this.imageBytes;
  }
}

class ShardFiles implements Ends {
  private readonly folder: string;
  private readonly plan: PairPlan;

  constructor(folder: string, plan: PairPlan) {
    this.folder = folder;
    this.plan = plan;
  }

  async present(): Promise<number> {
    for (let index = 0; index < batchCount(this.plan); index++) {
      const { file, length } = shardLayout(this.folder, this.plan, index);
      if (!(await exists(file)) || (await stat(file)).size !== length) return index;
    }
    return batchCount(this.plan);
  }

  async keep(): Promise<void> {
    // A shard beyond the journal is solved again and replaced.
  }

  write(index: number, bytes: Uint8Array): Promise<void> {
    const { file, header } = shardLayout(this.folder, this.plan, index);
    return writeFileAtomic(file, [header, bytes]);
  }

  async finish(): Promise<void> {}

  async close(): Promise<void> {}
}

async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await handle.write(bytes, done, Math.min(bytes.length - done, 2 ** 30), position + done)).bytesWritten;
}
