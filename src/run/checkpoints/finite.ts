// Whether the numbers of a checkpoint are numbers: one NaN in the weights makes every sample NaN.
import { FileError, NonFiniteError } from '../../errors.ts';
import { type ArrayFile, toFloat32 } from '../../io/index.ts';
import type { StateValues } from '../../nn/module.ts';

export interface NotFinite {
  /** Numbers that are NaN or infinite, and the tensors that hold them. */
  count: number;
  tensors: number;
  /** The name of the first of those. */
  first: string;
}

/** undefined where all are finite. */
function findNotFinite(values: Iterable<[string, ArrayLike<number>]>): NotFinite | undefined {
  let found: NotFinite | undefined;
  for (const [name, data] of values) {
    let count = 0;
    for (let i = 0; i < data.length; i++) if (!Number.isFinite(data[i])) count++;
    if (count === 0) continue;
    found ??= { count: 0, tensors: 0, first: name };
    found.count += count;
    found.tensors++;
  }
  return found;
}

/** As findNotFinite, of the arrays of a file that hold fractions. */
export function notFiniteArrays(arrays: ReadonlyMap<string, ArrayFile>): NotFinite | undefined {
  return findNotFinite(fractions(arrays));
}

function* fractions(arrays: ReadonlyMap<string, ArrayFile>): Generator<[string, ArrayLike<number>]> {
  for (const [name, array] of arrays) {
    if (array.dtype === 'f16' || array.dtype === 'bf16') yield [name, toFloat32(array)];
    else if (array.data instanceof Float32Array || array.data instanceof Float64Array) yield [name, array.data];
  }
}

/** "3 numbers in 2 tensors, the first "down.0.conv1.weight"" */
export function describeNotFinite({ count, tensors, first }: NotFinite): string {
  const numbers = count === 1 ? '1 number' : `${count} numbers`;
  return tensors === 1 ? `${numbers} in "${first}"` : `${numbers} in ${tensors} tensors, the first "${first}"`;
}

/** Parts of a checkpoint by what they are called: "weights", "average". */
type Parts = Readonly<Record<string, StateValues | undefined>>;

/** "weights that are not finite: 1 number in "convIn.weight"" */
function faultIn(parts: Parts): string | undefined {
  for (const [what, values = new Map()] of Object.entries(parts)) {
    const found = findNotFinite(Array.from(values, ([name, { data }]) => [name, data]));
    if (found) return `${what} that are not finite: ${describeNotFinite(found)}`;
  }
  return undefined;
}

/** @throws FileError naming count and first tensor of what is not finite */
export function requireFinite(path: string, parts: Parts): void {
  const fault = faultIn(parts);
  if (fault) throw new FileError(path, `holds ${fault}`);
}

/** @throws NonFiniteError before a checkpoint is written that nothing could be done with */
export function refuseNotFinite(path: string, parts: Parts): void {
  const fault = faultIn(parts);
  if (fault) throw new NonFiniteError(`${path} is not written: it would hold ${fault}`);
}
