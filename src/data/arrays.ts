// Data sets of typed arrays in memory: fields with one row per item.
import { checkArgument, checkArguments, describeValue, isDetached, kind, kinds } from '../arguments.ts';
import { ArgumentError, formatShape, ValueError } from '../errors.ts';
import { sizeOf } from '../tensor/shape.ts';
import { checkIndices } from './dataset.ts';

/** An array that a tensor can be made of: f32, i32 or u8. */
export type FieldArray = Float32Array | Int32Array | Uint8Array;

/** Rows of numbers: [rows, ...]. */
export interface Rows<Data extends FieldArray = FieldArray> {
  shape: readonly number[];
  data: Data;
}

/** Items with fields of equal length, read by index. */
export interface ArrayDataset<Name extends string = string> {
  readonly name: string;
  /** Number of items. */
  readonly count: number;
  /** The rows of these items, by field. */
  load(indices: Int32Array): Promise<Record<Name, Rows>>;
}

const isField = (value: unknown) =>
  [Float32Array, Int32Array, Uint8Array].some((type) => value instanceof type) && !isDetached(value as FieldArray);

const fieldsKind = kind(
  'an object of typed arrays or { shape, data }',
  (value) => kinds.object.accepts(value) && !ArrayBuffer.isView(value) && Object.keys(value as object).length > 0,
);

/** The rows of a field. @throws ArgumentError, ValueError unless data and shape fit */
function rowsOf(name: string, field: unknown): Rows {
  const rows = isField(field) ? { data: field, shape: [(field as FieldArray).length] } : field;
  checkArgument('arrayDataset', `field "${name}"`, rows, kinds.object);
  const { data, shape } = rows as Rows;
  if (!isField(data))
    throw new ArgumentError(
      'arrayDataset',
      `field "${name}" to hold a Float32Array, an Int32Array or a Uint8Array`,
      describeValue(data),
    );
  if (!(Array.isArray(shape) && shape.length > 0 && shape.every(kinds.whole.accepts) && sizeOf(shape) === data.length))
    throw new ValueError(
      `[arrayDataset] expected a shape [items, ...] of ${data.length} numbers for field "${name}", got ${describeValue(shape)}`,
    );
  return { data, shape: [...shape] };
}

/**
 * A data set of typed arrays in memory. It shares their memory.
 * @param fields arrays by name: typed arrays with one number per item, or { shape: [items, ...], data }
 * @throws ValueError unless all fields have the same number of items, at least 1
 * @example
 * const xor = arrayDataset({
 *   x: { shape: [4, 2], data: Float32Array.of(0, 0, 0, 1, 1, 0, 1, 1) },
 *   y: Int32Array.of(0, 1, 1, 0),
 * });
 * xor.count; // 4
 * const { x, y } = await xor.load(Int32Array.of(2));
 * x.data; // [1, 0]
 * y.data; // [1]
 */
export function arrayDataset<Name extends string>(
  fields: Readonly<Record<Name, FieldArray | Rows>>,
  name = 'arrays',
): ArrayDataset<Name> {
  checkArgument('arrayDataset', 'fields', fields, fieldsKind);
  checkArguments('arrayDataset', { name: [name, kinds.text] });
  const rows = Object.entries(fields).map(([field, value]) => [field as Name, rowsOf(field, value)] as const);
  const [[first, { shape: own }]] = rows;
  const [count] = own;
  const other = rows.find(([, { shape }]) => shape[0] !== count);
  if (other || count === 0)
    throw new ValueError(
      `[arrayDataset] expected fields with the same number of items, at least 1, got ${formatShape(own)} for "${first}"` +
        (other ? ` and ${formatShape(other[1].shape)} for "${other[0]}"` : ''),
    );
  return {
    name,
    count,
    async load(indices) {
      checkIndices({ name, count }, indices);
      const chosen = rows.map(([field, each]) => [field, chosenRows(each, indices)] as const);
      return Object.fromEntries(chosen) as Record<Name, Rows>;
    },
  };
}

function chosenRows({ data, shape }: Rows, indices: Int32Array): Rows {
  const width = sizeOf(shape.slice(1));
  const chosen = emptyLike(data, indices.length * width);
  indices.forEach((index, place) => {
    chosen.set(data.subarray(index * width, (index + 1) * width), place * width);
  });
  return { data: chosen, shape: [indices.length, ...shape.slice(1)] };
}

function emptyLike(data: FieldArray, length: number): FieldArray {
  if (data instanceof Float32Array) return new Float32Array(length);
  return data instanceof Int32Array ? new Int32Array(length) : new Uint8Array(length);
}
