// The pairs (z0, z1) of a flow for training: the folders of a root as one set, in the official layout or in shards
// (manifest.ts). z1 is the end of the ODE in network range, neither clipped nor rounded to pixels.
//
// Pairs are read from disk one by one: a million pairs need no more memory than a thousand.
import { join } from 'node:path';
import {
  byOpen,
  checkArgument,
  checkArguments,
  checkByOpen,
  describeValue,
  isWhole,
  kind,
  kinds,
} from '../../arguments.ts';
import { FileError, formatShape, ValueError } from '../../errors.ts';
import { asFileError } from '../../io/file.ts';
import { writeNpyRows } from '../../io/index.ts';
import { streams } from '../../tensor/streams.ts';
import { channelsFirst } from '../layout.ts';
import { listFolders } from '../list_files.ts';
import { randomBlock } from '../random.ts';
import { openPairFolder, type PairFolder } from './folder.ts';
import { type PairCondition, type PairShape, pairShapeKind } from './manifest.ts';
import { type PairSource, pairSourceKind } from './source.ts';

/** Number of concurrent reads. */
const LANES = 16;

export interface PairBatch {
  /** f32 [B, H, W, C]. */
  z0: Float32Array;
  z1: Float32Array;
  /** i32 [B], the places of their texts or classes in PairSet.condition's table; absent for pairs without conditions. */
  column?: Int32Array;
}

/**
 * The pairs of a root, read by index.
 * @example
 * const pairs = await PairSet.open('pairs');
 * pairs.count; // 32
 * const { z0, z1 } = await pairs.load(Int32Array.of(0, 31));
 * z0.length; // 128
 * z1.length; // 128
 * await pairs.close();
 */
export class PairSet {
  readonly count: number;
  /** The shape of every image. */
  readonly shape: PairShape;
  /** What the pairs were made for, if they have conditions. */
  readonly condition: Pick<PairCondition, 'kind' | 'table'> | undefined;
  /** The folders in the order of their names, which is also the order of their pairs. @internal */
  readonly folders: readonly PairFolder[];
  private readonly firsts: readonly number[];

  private constructor(token: symbol, folders: readonly PairFolder[]) {
    checkByOpen('PairSet', token);
    this.folders = folders;
    this.shape = folders[0].shape;
    const condition = folders[0].manifest?.condition;
    this.condition = condition && { kind: condition.kind, table: condition.table };
    let count = 0;
    this.firsts = folders.map((folder) => {
      const first = count;
      count += folder.count;
      return first;
    });
    this.count = count;
  }

  /**
   * Opens every folder of `root` that has pairs, in the order of their names.
   * @param shape the expected shape of every image; default: that of the first folder
   * @param notice called with a message about each folder without pairs
   * @param source the images that pairs start from, if not from noise; pairs in shards need it
   * @throws FileError for a root without pairs, and for folders that are incomplete, damaged or of a different shape
   */
  static async open(
    root: string,
    shape?: PairShape,
    notice: (text: string) => void = () => {},
    source?: PairSource,
  ): Promise<PairSet> {
    checkArguments('PairSet.open', { root: [root, kinds.path], notice: [notice, kinds.callback] });
    if (shape !== undefined) checkArgument('PairSet.open', 'shape', shape, pairShapeKind);
    if (source !== undefined) checkArgument('PairSet.open', 'source', source, pairSourceKind);
    const folders: PairFolder[] = [];
    try {
      for (const name of await listFolders(root, notice)) {
        const path = join(root, name);
        const folder = await openPairFolder(path, source);
        if (!folder) {
          notice(`${path} has no z0.npy and z1.npy and is skipped`);
          continue;
        }
        folders.push(folder);
        const expected = shape ?? folders[0].shape;
        if (formatShape(folder.shape) !== formatShape(expected))
          throw new FileError(
            path,
            `holds [${folder.count}, ${folder.shape.join(', ')}], expected [pairs, ${expected.join(', ')}]`,
          );
        if ((folder.sources === undefined) !== (folders[0].sources === undefined))
          throw new FileError(path, `starts from ${folder.sources ? 'images' : 'noise'}, unlike ${folders[0].path}`);
        if (describeTable(folder) !== describeTable(folders[0]))
          throw new FileError(
            path,
            `has another condition than ${folders[0].path}: another table of texts or classes, or none`,
          );
      }
      if (folders.length === 0) throw new FileError(root, 'holds no pairs: no folder in it has z0.npy and z1.npy');
      return new PairSet(byOpen, folders);
    } catch (error) {
      for (const folder of folders) await folder.close();
      throw asFileError(root, error);
    }
  }

  /** Whether z0 are images of a source and not noise. */
  get fromImages(): boolean {
    return this.folders[0].sources !== undefined;
  }

  /** Loads the pairs of these indices. */
  async load(indices: Int32Array): Promise<PairBatch> {
    checkArgument('PairSet.load', 'indices', indices, kinds.int32s);
    const size = this.shape.reduce((product, dim) => product * dim, 1);
    const column = this.condition && new Int32Array(indices.length);
    const [z0, z1] = [new Float32Array(indices.length * size), new Float32Array(indices.length * size)];
    const batch: PairBatch = { z0, z1, ...(column && { column }) };
    let next = 0;
    const lane = async () => {
      while (next < indices.length) {
        const place = next++;
        const { folder, index } = this.locate(indices[place]);
        batch.z0.set(await folder.start(index), place * size);
        batch.z1.set(await folder.end(index), place * size);
        if (column && folder.column) column[place] = folder.column[index];
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    return batch;
  }

  /** Closes the files. */
  async close(): Promise<void> {
    for (const folder of this.folders) await folder.close();
  }

  /** The folder of a pair, and the pair's index in it. @internal */
  locate(index: number): { folder: PairFolder; index: number } {
    if (!isWhole(index, 0, this.count - 1))
      throw new ValueError(`the set has ${this.count} pairs; index ${describeValue(index)} is out of range`);
    const at = this.firsts.findLastIndex((first) => first <= index);
    return { folder: this.folders[at], index: index - this.firsts[at] };
  }
}

function describeTable({ manifest }: PairFolder): string {
  return JSON.stringify([manifest?.condition?.kind, manifest?.condition?.table]);
}

/**
 * Writes one of the two files of a folder of pairs in the official layout, batch by batch.
 * @param count total number of pairs
 * @param batches f32 [B, H, W, C] each
 * @throws FileError for a file that cannot be written; ValueError if the batches do not add up to `count`
 * @example
 * function* batches() {
 *   for (let i = 0; i < 4; i++) yield new Float32Array(8 * 8).fill(i);
 * }
 * await writePairFile('z1.npy', 4, [1, 8, 8], batches());
 * (await readNpy('z1.npy')).shape; // [4, 1, 8, 8]
 */
export async function writePairFile(
  path: string,
  count: number,
  shape: PairShape,
  batches: AsyncIterable<Float32Array> | Iterable<Float32Array>,
): Promise<void> {
  checkArguments('writePairFile', {
    path: [path, kinds.path],
    count: [count, kinds.whole],
    shape: [shape, pairShapeKind],
    batches: [batches, kinds.iterable],
  });
  const [channels, height, width] = shape;
  const size = channels * height * width;
  async function* rows() {
    for await (const batch of batches) {
      checkArgument('writePairFile', 'a batch', batch, kinds.float32);
      yield channelsFirst(batch, [batch.length / size, height, width, channels]);
    }
  }
  await writeNpyRows(path, [count, ...shape], rows());
}

const share = kind('a number from 0 to 1', (v) => typeof v === 'number' && v >= 0 && v <= 1);

/** Returns whether sample `item` of a run is a pair of real images: true with probability `ratio`, by (seed, item). */
export function isReal(seed: number, item: number, ratio: number): boolean {
  checkArgument('isReal', 'seed', seed, kinds.whole);
  checkArgument('isReal', 'item', item, kinds.whole);
  checkArgument('isReal', 'ratio', ratio, share);
  return randomBlock(0, item, streams.realPairs, seed)[0] < ratio * 2 ** 32;
}
