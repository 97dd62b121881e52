// Weights by a formula of tensor index and element, so that no weight file is needed; see golden/README.md.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { StateArrays } from '../../src/eval/index.ts';
import { type ArrayFile, writePth } from '../../src/io/index.ts';

export const golden = (name: string): string => fileURLToPath(new URL(`../golden/metrics/${name}`, import.meta.url));

/** The finaliser of MurmurHash3, on 32 bits. */
function fmix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Factor and offset of s in [-1, 1). */
function lawOf(name: string, shape: readonly number[], count: number): [factor: number, offset: number] {
  if (shape.length > 1) return [Math.sqrt(6 / (count / shape[0])), 0];
  if (name.endsWith('running_mean') || name.endsWith('bn.bias')) return [0.1, 0];
  if (name.endsWith('running_var')) return [0.5, 1];
  return name.endsWith('bn.weight') ? [0.2, 1] : [0.05, 0];
}

/** The weights of a network whose tensors a golden .tsv lists: index, name, shape. */
export function weightsByFormula(tsv: string): StateArrays {
  const rows = readFileSync(golden(tsv), 'utf8').trim().split('\n');
  return new Map(
    rows.map((row) => {
      const [number, name, extents] = row.split('\t');
      const shape = extents.split('x').map(Number);
      const count = shape.reduce((product, extent) => product * extent, 1);
      const [factor, offset] = lawOf(name, shape, count);
      const start = Math.imul(0x9e3779b9, Number(number) + 1);
      const data = Float32Array.from(
        { length: count },
        (_, i) => offset + factor * ((2 * fmix32(i + start)) / 2 ** 32 - 1),
      );
      return [name, { shape, data }];
    }),
  );
}

/** Writes such weights as a file like the published one: Inception-v3 for FID, or torchvision's VGG16. */
export function writeFormulaWeights(network: 'inception' | 'vgg16', path: string): Promise<void> {
  // The list names VGG16's tensors as the LPIPS package does: slice1.0.weight for features.0.weight.
  const arrays = new Map<string, ArrayFile>();
  for (const [name, { shape, data }] of weightsByFormula(`${network}_tensors.tsv`))
    arrays.set(name.replace(/^slice\d/, 'features'), { shape: [...shape], dtype: 'f32', data });
  return writePth(path, arrays);
}

/** The largest |a - b| over the largest |b|. */
export function relativeToLargest(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let [difference, largest] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference = Math.max(difference, Math.abs(a[i] - b[i]));
    largest = Math.max(largest, Math.abs(b[i]));
  }
  return difference / largest;
}
