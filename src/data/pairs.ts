// Pairs (z0, z1) of a flow as the official code keeps them: {root}/{seed}/z0.npy and z1.npy, f32 [M, C, H, W] each, z1 the end
// of the ODE in network range, neither clipped nor rounded. The folders of a root count as one set.
//
// They are read row by row where they lie: a million pairs need no more memory than a thousand.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FileError, formatShape } from '../errors.ts';
import { asFileError, NpyRows, writeNpyRows } from '../io/index.ts';
import { channelsFirst, channelsLast } from './layout.ts';

/** [channels, height, width] of every image. */
export type PairShape = readonly [channels: number, height: number, width: number];

export interface PairBatch {
  /** f32 [B, H, W, C]. */
  z0: Float32Array;
  z1: Float32Array;
}

interface Part {
  z0: NpyRows;
  z1: NpyRows;
  /** Index of its first pair in the set. */
  first: number;
}

/** The pairs of a folder, read by index. */
export class PairSet {
  readonly count: number;
  private readonly parts: readonly Part[];
  private readonly shape: PairShape;

  private constructor(parts: readonly Part[], shape: PairShape) {
    this.parts = parts;
    this.shape = shape;
    this.count = parts.reduce((sum, { z0 }) => sum + z0.count, 0);
  }

  /**
   * Every folder of `root` that holds z0.npy and z1.npy, in the order of their names.
   * @param notice told of folders that hold no pairs
   * @throws FileError for a root without pairs, and for files that are damaged, of another shape or not of equal length
   */
  static async open(root: string, shape: PairShape, notice: (text: string) => void = () => {}): Promise<PairSet> {
    const parts: Part[] = [];
    try {
      let first = 0;
      for (const folder of await folders(root)) {
        const files = await readdir(join(root, folder));
        if (!files.includes('z0.npy') || !files.includes('z1.npy')) {
          notice(`${join(root, folder)} holds no z0.npy and z1.npy and is left out`);
          continue;
        }
        const part = { z0: await NpyRows.open(join(root, folder, 'z0.npy')), first } as Part;
        parts.push(part);
        part.z1 = await NpyRows.open(join(root, folder, 'z1.npy'));
        checkPart(part, shape);
        first += part.z0.count;
      }
      if (first === 0) throw new FileError(root, 'holds no pairs: no folder in it has z0.npy and z1.npy');
      return new PairSet(parts, shape);
    } catch (error) {
      await closeAll(parts);
      throw asFileError(root, error);
    }
  }

  /** The pairs of these indices. */
  async load(indices: Int32Array): Promise<PairBatch> {
    const [channels, height, width] = this.shape;
    const size = channels * height * width;
    const batch = { z0: new Float32Array(indices.length * size), z1: new Float32Array(indices.length * size) };
    for (const [place, index] of indices.entries()) {
      const part = this.parts.findLast(({ first }) => first <= index) as Part;
      for (const end of ['z0', 'z1'] as const)
        batch[end].set(
          channelsLast(await part[end].row(index - part.first), [1, height, width, channels]),
          place * size,
        );
    }
    return batch;
  }

  /** Closes its files. */
  close(): Promise<void> {
    return closeAll(this.parts);
  }
}

async function closeAll(parts: readonly Part[]): Promise<void> {
  for (const { z0, z1 } of parts) {
    await z0.close();
    await z1?.close();
  }
}

async function folders(root: string): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort();
}

function checkPart({ z0, z1 }: Part, shape: PairShape): void {
  for (const file of [z0, z1])
    if (formatShape(file.shape.slice(1)) !== formatShape(shape))
      throw new FileError(file.path, `holds ${formatShape(file.shape)}, expected [pairs, ${shape.join(', ')}]`);
  if (z0.count !== z1.count) throw new FileError(z1.path, `has ${z1.count} rows for the ${z0.count} of ${z0.path}`);
}

/**
 * One of the two files of a folder of pairs, written as its rows come.
 * @param count pairs in all
 * @param batches f32 [B, H, W, C] each
 */
export function writePairFile(
  path: string,
  count: number,
  shape: PairShape,
  batches: AsyncIterable<Float32Array> | Iterable<Float32Array>,
): Promise<void> {
  const [channels, height, width] = shape;
  const size = channels * height * width;
  async function* rows() {
    for await (const batch of batches) yield channelsFirst(batch, [batch.length / size, height, width, channels]);
  }
  return writeNpyRows(path, [count, ...shape], rows());
}
