// Check that the numbers in a checkpoint are finite: a single NaN in the weights makes every sample NaN.
import { FileError, NonFiniteError } from '../../errors.ts';
import { type ArrayFile, toFloat32 } from '../../io/index.ts';
import type { StateValues } from '../../nn/module.ts';

export interface NotFinite {
  /** How many numbers are NaN or infinite, and how many tensors hold them. */
  count: number;
  tensors: number;
  /** Name of the first of these tensors. */
  first: string;
}

/** Counts NaN and infinite numbers; undefined if there are none. */
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

/** Like findNotFinite, over the floating-point arrays of a file. */
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

/** Parts of a checkpoint by the names that messages use, such as "weights". */
type Parts = Readonly<Record<string, StateValues | undefined>>;

/** "weights that are not finite: 1 number in "convIn.weight"" */
function faultIn(parts: Parts): string | undefined {
  for (const [what, values = new Map()] of Object.entries(parts)) {
    const found = findNotFinite(Array.from(values, ([name, { data }]) => [name, data]));
    if (found) return `${what} that are not finite: ${describeNotFinite(found)}`;
  }
  return undefined;
}

/** @throws FileError naming the count of numbers that are not finite and their first tensor */
export function requireFinite(path: string, parts: Parts): void {
  const fault = faultIn(parts);
  if (fault) throw new FileError(path, `holds ${fault}`);
}

/** @throws NonFiniteError if a checkpoint about to be written has numbers that are not finite */
export function refuseNotFinite(path: string, parts: Parts): void {
  const fault = faultIn(parts);
  if (fault) throw new NonFiniteError(`${path} was not written, because it would hold ${fault}`);
}
