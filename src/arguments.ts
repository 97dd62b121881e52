// Run-time checks of the arguments of public functions. TypeScript users get them at compile time; JavaScript users
// need the same answers at run time: an unknown option is an error, never ignored.
import { ArgumentError, formatShape, nearestName, ValueError } from './errors.ts';

/** A kind of argument: its description for error messages, and the test. */
export interface Kind {
  /** Completes "expected NAME to be ...". */
  readonly expected: string;
  accepts(value: unknown): boolean;
}

/** Kinds that many functions share. */
export const kinds = {
  number: kind('a number', (v) => typeof v === 'number'),
  finite: kind('a finite number', (v) => Number.isFinite(v)),
  positive: kind('a finite number > 0', (v) => Number.isFinite(v) && (v as number) > 0),
  notNegative: kind('a finite number >= 0', (v) => Number.isFinite(v) && (v as number) >= 0),
  integer: kind('a whole number', Number.isSafeInteger),
  whole: kind('a whole number >= 0', (v) => isWhole(v)),
  count: kind('a whole number >= 1', (v) => isWhole(v, 1)),
  int32: kind('a whole number of 32 bits', isInt32),
  int32Count: kind('a whole number >= 1', (v) => isInt32(v) && (v as number) >= 1),
  boolean: kind('true or false', (v) => typeof v === 'boolean'),
  text: kind('a string', (v) => typeof v === 'string'),
  path: kind('a path', (v) => typeof v === 'string' && v.length > 0 && !v.includes('\0')),
  callback: kind('a function', (v) => typeof v === 'function'),
  iterable: kind('an iterable object', isIterable),
  object: kind('an object', (v) => typeof v === 'object' && v !== null),
  signal: kind('an AbortSignal', (v) => v instanceof AbortSignal),
  float32: kind('a Float32Array', (v) => v instanceof Float32Array && !isDetached(v)),
  int32s: kind('an Int32Array', (v) => v instanceof Int32Array && !isDetached(v)),
  bytes: kind('a Uint8Array', (v) => v instanceof Uint8Array && !isDetached(v)),
} satisfies Record<string, Kind>;

function isIterable(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || (ArrayBuffer.isView(value) && isDetached(value))) return false;
  const { [Symbol.iterator]: sync, [Symbol.asyncIterator]: async } = value as Iterable<unknown> &
    AsyncIterable<unknown>;
  return typeof (async ?? sync) === 'function';
}

/** Returns whether a value is a whole number from `least` to `most`, inclusive. */
export function isWhole(value: unknown, least = 0, most: number = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most;
}

function isInt32(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) === ((value as number) | 0);
}

/* @__NO_SIDE_EFFECTS__ */
export function kind(expected: string, accepts: (value: unknown) => boolean): Kind {
  return { expected, accepts };
}

/** A whole number from `least` to `most`, inclusive. */
/* @__NO_SIDE_EFFECTS__ */
export function wholeFrom(least: number, most: number): Kind {
  return kind(`a whole number from ${least} to ${most}`, (v) => isWhole(v, least, most));
}

/** One of the given strings, numbers or booleans. */
/* @__NO_SIDE_EFFECTS__ */
export function oneOf(values: readonly (string | number | boolean)[]): Kind {
  const listed = values.map((value) => JSON.stringify(value)).join(', ');
  return kind(values.length === 1 ? listed : `one of ${listed}`, (v) => values.includes(v as string));
}

/** A list or a typed array whose items are all of one kind. */
/* @__NO_SIDE_EFFECTS__ */
export function listOf(item: Kind, plural: string, length?: number): Kind {
  const expected = length === undefined ? `a list of ${plural}` : `a list of ${length} ${plural}`;
  return kind(expected, (v) => {
    const list = copyOfList(v);
    return list !== undefined && (length === undefined || list.length === length) && list.every((i) => item.accepts(i));
  });
}

/* @__NO_SIDE_EFFECTS__ */
export function either(a: Kind, b: Kind): Kind {
  return kind(`${a.expected} or ${b.expected}`, (v) => a.accepts(v) || b.accepts(v));
}

/* @__NO_SIDE_EFFECTS__ */
export function instanceOf(type: abstract new (...values: never[]) => unknown, expected: string): Kind {
  return kind(expected, (v) => v instanceof type);
}

/** Copies the items of a list or a typed array, reading each once; undefined for anything else. */
export function copyOfList(value: unknown): unknown[] | undefined {
  if (Array.isArray(value)) {
    const copy: unknown[] = [];
    for (let i = 0; i < value.length; i++) copy.push(value[i]);
    return copy;
  }
  if (!ArrayBuffer.isView(value) || value instanceof DataView || isDetached(value)) return undefined;
  return [...(value as unknown as Iterable<unknown>)];
}

/** Returns whether the view's memory was transferred, for instance to a worker. */
export function isDetached(view: ArrayBufferView): boolean {
  if (view.byteLength > 0) return false;
  try {
    // Node 20 has no ArrayBuffer.prototype.detached.
    new Uint8Array(view.buffer);
    return false;
  } catch {
    return true;
  }
}

/** @throws ArgumentError "[op] expected NAME to be KIND, got VALUE" */
export function checkArgument(op: string, name: string, value: unknown, { expected, accepts }: Kind): void {
  if (!accepts(value)) throw new ArgumentError(op, `${name} to be ${expected}`, describeValue(value));
}

/** @returns the value. @throws ValueError "NAME must be a whole number >= LEAST, got VALUE" */
export function requireWhole(name: string, value: number, least: number, most?: number): number {
  if (isWhole(value, least, most)) return value;
  const bounds = most === undefined ? `>= ${least}` : `from ${least} to ${most}`;
  throw new ValueError(`${name} must be a whole number ${bounds}, got ${describeValue(value)}`);
}

/** Checks several arguments at once, by name. @throws ArgumentError as checkArgument */
export function checkArguments(op: string, values: Record<string, readonly [value: unknown, kind: Kind]>): void {
  for (const [name, [value, kind]] of Object.entries(values)) checkArgument(op, name, value, kind);
}

/** @returns the whole numbers of a list, each read once. @throws ArgumentError */
export function wholeNumbers(op: string, name: string, value: unknown): number[] {
  const list = copyOfList(value);
  if (!list?.every((item) => Number.isSafeInteger(item)))
    throw new ArgumentError(op, `${name} to be a list of whole numbers`, describeValue(value));
  // -0 becomes 0.
  return (list as number[]).map((item) => item + 0);
}

/** A kind for each key of an options object; a missing key is a compile error. */
export type OptionKinds<Options> = { readonly [Key in keyof Required<Options>]: Kind };

/**
 * Checks an options object, reading each option once.
 * @param required keys that must be present
 * @returns a copy without the keys that are undefined
 * @throws ArgumentError for anything but an object, an unknown key (with the nearest known one), a missing key, or a
 * value of the wrong kind
 */
export function checkOptions<Options extends object>(
  op: string,
  options: Options,
  known: OptionKinds<Options>,
  required: readonly (keyof Options & string)[] = [],
): Options {
  if (options === undefined && required.length > 0)
    throw new ArgumentError(op, `options with ${required.join(' and ')}`, 'none');
  if (!isRecord(options))
    throw new ArgumentError(op, `options { ${Object.keys(known).join(', ')} }`, describeValue(options));
  const names = optionNames(options, known);
  for (const name of names) if (!Object.hasOwn(known, name)) throw unknownOption(op, options, name, Object.keys(known));
  const result: Record<string, unknown> = {};
  for (const name of names) {
    const value: unknown = options[name];
    if (value === undefined) continue;
    checkArgument(op, name, value, known[name as keyof Options]);
    result[name] = value;
  }
  for (const name of required)
    if (result[name] === undefined)
      throw new ArgumentError(op, `${name} to be ${known[name].expected}`, 'none in the options');
  return result as Options;
}

function unknownOption(op: string, options: object, name: string, names: readonly string[]): ArgumentError {
  const near = nearestName(name, names);
  const listed = names.length === 0 ? 'no options' : `options among ${names.join(', ')}`;
  const owner = isPlain(options) || options.constructor === Object ? '' : ` of ${describeValue(options)}`;
  return new ArgumentError(op, listed, `${quote(name)}${owner}${near ? ` (did you mean "${near}"?)` : ''}`);
}

/** Refuses options that have no effect. @param why completes "expected no NAME ..." @throws ArgumentError */
export function refuseInert<Options extends object>(
  op: string,
  options: Options,
  names: readonly (keyof Options & string)[],
  why: string,
): void {
  for (const name of names)
    if (options[name] !== undefined) throw new ArgumentError(op, `no ${name} ${why}`, describeValue(options[name]));
}

/** Allocates a host array for results. @throws ValueError if an array of that length cannot be allocated */
export function resultArray(op: string, length: number): Float32Array {
  return hostArray(op, Float32Array, length);
}

/** Allocates a host array of zeros. @throws ValueError if an array of that length cannot be allocated */
export function hostArray<Made>(op: string, ArrayType: new (length: number) => Made, length: number): Made {
  try {
    return new ArrayType(length);
  } catch (cause) {
    throw new ValueError(`[${op}] expected results that fit into memory, got ${length} numbers`, { cause });
  }
}

const typedArray: object = Object.getPrototypeOf(Uint8Array.prototype);

/** Reads a built-in property of a typed array, bypassing overrides by a subclass or an own property. */
function builtInProperty(name: 'length' | typeof Symbol.toStringTag): (view: unknown) => unknown {
  const { get } = Object.getOwnPropertyDescriptor(typedArray, name) as PropertyDescriptor & { get: () => unknown };
  return (view) => get.call(view);
}

const typeNameOf = builtInProperty(Symbol.toStringTag);

/** The true number of elements of a typed array. */
export const lengthOf = builtInProperty('length') as (view: ArrayBufferView) => number;

/**
 * Returns whether a value is a typed array of exactly that type: not of a subclass, and its length is not overridden.
 */
export function isPlainArray(value: unknown, { name, prototype }: { name: string; prototype: unknown }): boolean {
  return (
    typeNameOf(value) === name &&
    Object.getPrototypeOf(value) === prototype &&
    !['length', 'byteLength'].some((key) => Object.hasOwn(value as object, key))
  );
}

/** A typed array of that type, or of a subclass of it, as a plain typed array; undefined for anything else. */
export function plainArray<Plain extends object>(
  value: unknown,
  ArrayType: { new (length: number): Plain; prototype: Plain },
): Plain | undefined {
  if (isPlainArray(value, ArrayType)) return value as Plain;
  if (typeNameOf(value) !== ArrayType.name) return undefined;
  const copy = new ArrayType(lengthOf(value as ArrayBufferView));
  Uint8Array.prototype.set.call(copy, value as Uint8Array);
  return copy;
}

/**
 * Refuses surplus arguments, such as the options of another library, which would otherwise be ignored. The index and
 * the list that `map` and `reduce` pass to their callbacks are allowed.
 */
export function refuseExtra(op: string, extra: readonly unknown[]): void {
  if (extra.every((value) => value === undefined)) return;
  const [first, second] = extra;
  if (typeof first === 'number' && Array.isArray(second) && extra.length === 2) return;
  throw new ArgumentError(op, 'no further argument', describeValue(extra.find((value) => value !== undefined)));
}

/** Returns whether the properties of an object are options, unlike those of a Map, a Promise or another container. */
function isRecord(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  return isPlain(value) || Object.prototype.toString.call(value) === '[object Object]';
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Names of own and inherited properties, non-enumerable ones included, without class methods that are not options. */
function optionNames(options: object, known: object): readonly string[] {
  const own = Object.getOwnPropertyNames(options);
  if (isPlain(options)) return own;
  const names = new Set(own);
  for (let level = Object.getPrototypeOf(options); level !== null; level = Object.getPrototypeOf(level))
    for (const [name, { value, enumerable }] of Object.entries(Object.getOwnPropertyDescriptors<object>(level)))
      if (!(name in Object.prototype) && (enumerable || typeof value !== 'function' || Object.hasOwn(known, name)))
        names.add(name);
  return [...names];
}

/** The token by which a constructor knows that the static `open` or `load` of its class called it. */
export const byOpen = Symbol('by open');

/** @throws ArgumentError in a constructor that `open`, or the function named `method`, did not call */
export function checkByOpen(name: string, token: unknown, method = 'open'): void {
  if (token !== byOpen) throw new ArgumentError(name, `a call of ${name}.${method}()`, `new ${name}`);
}

const LONGEST = 60;

/** Describes a value in a few words, for a message. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return quote(value);
    case 'bigint':
      return `${value}n`.slice(0, LONGEST);
    case 'symbol':
      return 'a symbol';
    case 'function':
      return 'a function';
    case 'object':
      return value === null ? 'null' : describeObject(value);
    default:
      return Object.is(value, -0) ? '-0' : String(value);
  }
}

function quote(text: string): string {
  return JSON.stringify(text.length > LONGEST ? `${text.slice(0, LONGEST)}...` : text);
}

/** Describes an object, running as little of the object's own code as possible. */
function describeObject(value: object): string {
  try {
    if (Array.isArray(value)) {
      const numbers = value.length <= 8 && value.every((item) => typeof item === 'number');
      return numbers ? formatShape(value) : `a list of ${value.length}`;
    }
    if (ArrayBuffer.isView(value) && !(value instanceof DataView))
      return `a ${isDetached(value) ? 'detached ' : ''}${value.constructor.name} of ${(value as Uint8Array).length}`;
    if (Object.hasOwn(value, 'then') || value instanceof Promise) return 'a Promise';
    const name: unknown = value.constructor?.name;
    if (typeof name === 'string' && name !== 'Object' && name !== '') return `an instance of ${name}`.slice(0, LONGEST);
    const keys = Object.keys(value);
    return keys.length === 0 ? 'an empty object' : `an object with ${keys.slice(0, 4).map(quote).join(', ')}`;
  } catch {
    return 'an object';
  }
}
