// Reference of scans and sorting: the elements along one axis are gathered into a list, a function maps it to another list, and
// the result is written back along the axis.
//   linear recurrence: y_j = a_j y_(j-1) + b_j
import { type Array64, at, count, generate } from './array.ts';

export interface ScanOptions {
  axis: number;
  reverse?: boolean;
}

/** The list with another value at one place. */
const replaced = (list: readonly number[], at: number, value: number) => list.map((old, i) => (i === at ? value : old));

/** Maps the lists along an axis; `arrays` are of one shape, and the lists of the result have `length` elements. */
function alongAxis(
  arrays: readonly Array64[],
  axis: number,
  f: (...lists: number[][]) => number[],
  length?: number,
): Array64 {
  const [{ shape }] = arrays;
  const normal = (axis + shape.length) % shape.length;
  const made = new Map<string, number[]>();
  const listOf = (array: Array64, index: readonly number[]) =>
    Array.from({ length: shape[normal] }, (_, k) => at(array, replaced(index, normal, k)));
  return generate(replaced(shape, normal, length ?? shape[normal]), (index) => {
    const key = `${replaced(index, normal, 0)}`;
    const list = made.get(key) ?? f(...arrays.map((array) => listOf(array, index)));
    made.set(key, list);
    return list[index[normal]];
  });
}

function scan(
  arrays: readonly Array64[],
  { axis, reverse = false }: ScanOptions,
  step: (state: number | undefined, values: number[]) => number,
): Array64 {
  return alongAxis(arrays, axis, (...lists) => {
    const places = lists[0].map((_, j) => (reverse ? lists[0].length - 1 - j : j));
    const result: number[] = [];
    let state: number | undefined;
    for (const j of places) {
      state = step(
        state,
        lists.map((list) => list[j]),
      );
      result[j] = state;
    }
    return result;
  });
}

export const cumsum = (x: Array64, options: ScanOptions): Array64 =>
  scan([x], options, (state = 0, [value]) => state + value);
export const cumprod = (x: Array64, options: ScanOptions): Array64 =>
  scan([x], options, (state = 1, [value]) => state * value);
export const linearRecurrence = (a: Array64, b: Array64, options: ScanOptions): Array64 =>
  scan([a, b], options, (state, [factor, input]) => (state === undefined ? input : factor * state + input));

interface SortOptions {
  axis?: number;
  descending?: boolean;
  keep?: number;
}

/** Indices of a list in the order of its values; equal values keep their order, and NaN is the largest. */
function orderOf(list: readonly number[], descending: boolean): number[] {
  const compare = (a: number, b: number) => (Number.isNaN(a) ? 1 : 0) - (Number.isNaN(b) ? 1 : 0) || a - b || 0;
  const sign = descending ? -1 : 1;
  return [...list.keys()].sort((i, j) => sign * compare(list[i], list[j]) || i - j);
}

export function argsort(x: Array64, { axis = -1, descending = false, keep }: SortOptions = {}): Array64 {
  return alongAxis([x], axis, (list) => orderOf(list, descending), keep);
}

export function sort(x: Array64, { axis = -1, descending = false, keep }: SortOptions = {}): Array64 {
  return alongAxis([x], axis, (list) => orderOf(list, descending).map((i) => list[i]), keep);
}

/** For each value the number of sorted elements below it, or with `right` not above it. */
export function searchSorted(sorted: Array64, values: Array64, right = false): Array64 {
  const n = sorted.shape[sorted.shape.length - 1];
  const perRow = sorted.shape.length === 1 ? count(values.shape) : values.shape[values.shape.length - 1];
  return generate(values.shape, (index) => {
    const value = at(values, index);
    const row = Math.floor(index.reduce((position, i, a) => position * values.shape[a] + i, 0) / perRow);
    const elements = [...sorted.data].slice(row * n, (row + 1) * n);
    return elements.filter((element) => element < value || (right && element === value)).length;
  });
}

export function binCount(x: Array64, length: number): Array64 {
  return generate([length], ([k]) => x.data.filter((value) => value === k).length);
}
