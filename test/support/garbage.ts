// Calls every function of an entry point with arguments that it does not accept, and reports the outcome.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RectiflowError } from '../../src/errors.ts';

/** An error thrown by a caller's own object, which must reach the caller unchanged. */
export class OwnError extends Error {}

const own = () => {
  throw new OwnError('thrown by the argument');
};

function detached(): Uint8Array {
  const bytes = new Uint8Array(8);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** Values that few functions accept. */
export const garbage: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  2.5,
  Number.NaN,
  2 ** 53,
  10n,
  Symbol('s'),
  '',
  'no such',
  'a\0b',
  [],
  [1, -2],
  [undefined],
  {},
  { colour: 'red' },
  { length: 3 },
  new Map([[Symbol('key'), 1]]),
  () => 5,
  Buffer.from('abc'),
  new Float64Array(3),
  new BigInt64Array(1),
  new DataView(new ArrayBuffer(4)),
  detached(),
  new Date(Number.NaN),
  Promise.resolve(1),
  Object.create(null),
  new Proxy({}, { get: own, ownKeys: own, has: own }),
  new Proxy([1], { get: own }),
];

type Callable = (...values: readonly unknown[]) => unknown;

export interface Walk {
  /** Valid argument lists by function name; every prefix of them is tried with garbage after it. */
  valid?: Readonly<Record<string, readonly (readonly unknown[])[]>>;
  /** Objects whose methods are also called. */
  instances?: Readonly<Record<string, object>>;
  /** Functions that are not called, each with the reason. */
  excluded?: Readonly<Record<string, string>>;
}

/** A call that takes longer (in milliseconds) counts as a hang. */
const LIMIT = 5000;

/**
 * The faults, one line per call: an error that is not a RectiflowError, files left by a refused call, a call that does not end.
 * Works in an empty folder of its own.
 */
export async function faultsOf(entry: Readonly<Record<string, unknown>>, walk: Walk = {}): Promise<string[]> {
  const { valid = {}, instances = {}, excluded = {} } = walk;
  const calls = callables(entry, instances);
  const names = new Set(calls.map(([name]) => name));
  const faults = [...Object.keys(valid), ...Object.keys(excluded)]
    .filter((name) => !names.has(name))
    .map((name) => `${name}: there is no such function`);
  const before = process.cwd();
  const folder = mkdtempSync(join(tmpdir(), 'rectiflow-garbage-'));
  process.chdir(folder);
  try {
    for (const [name, call] of calls) {
      if (name in excluded) continue;
      for (const values of argumentLists(valid[name] ?? [])) {
        const fault = await faultOf(call, values, folder);
        if (fault) faults.push(`${name}(${values.map(describe).join(', ')}): ${fault}`);
      }
    }
  } finally {
    process.chdir(before);
    rmSync(folder, { recursive: true });
  }
  return faults;
}

/** Functions, classes as functions that construct, their static functions, and the methods of instances. */
export function callables(
  entry: Readonly<Record<string, unknown>>,
  instances: Readonly<Record<string, object>>,
): [name: string, call: Callable][] {
  const found: [string, Callable][] = [];
  for (const [name, value] of Object.entries(entry)) {
    if (typeof value !== 'function') continue;
    if (!/^class\b/.test(Function.prototype.toString.call(value))) {
      found.push([name, value as Callable]);
      continue;
    }
    found.push([name, (...values) => Reflect.construct(value, values)]);
    for (const key of Object.getOwnPropertyNames(value)) {
      const member = (value as unknown as Record<string, unknown>)[key];
      if (typeof member === 'function') found.push([`${name}.${key}`, member.bind(value) as Callable]);
    }
  }
  for (const [name, instance] of Object.entries(instances))
    for (const key of methodsOf(instance)) {
      const method = (instance as Record<string, Callable>)[key];
      found.push([`${name}.${key}`, method.bind(instance) as Callable]);
    }
  return found;
}

function methodsOf(instance: object): string[] {
  const prototype = Object.getPrototypeOf(instance) as object;
  const names = [
    ...Object.getOwnPropertyNames(instance),
    ...(prototype === Object.prototype ? [] : Object.getOwnPropertyNames(prototype)),
  ];
  return names.filter(
    (key) => key !== 'constructor' && typeof (instance as Record<string, unknown>)[key] === 'function',
  );
}

function* argumentLists(valid: readonly (readonly unknown[])[]): Generator<readonly unknown[]> {
  yield [];
  for (const value of garbage) yield* [[value], [value, value, value, value]];
  for (const list of valid)
    for (let length = 1; length <= list.length; length++)
      for (const value of garbage) {
        // Garbage replaces a valid argument, and follows it.
        if (length > 1 || list.length > 1) yield [...list.slice(0, length - 1), value, ...list.slice(length)];
        yield [...list.slice(0, length), value];
      }
}

async function faultOf(call: Callable, values: readonly unknown[], folder: string): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const start = performance.now();
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(reject, LIMIT, new Error('did not end'));
    });
    await closed(await Promise.race([call(...values), late]));
    for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
  } catch (error) {
    const left = existsSync(folder) ? readdirSync(folder) : ['nothing, not even the folder'];
    for (const name of left) rmSync(join(folder, name), { recursive: true, force: true });
    if (!(error instanceof RectiflowError || error instanceof OwnError))
      return String((error as Error)?.stack ?? error);
    if (left.length > 0) return `${error.message}, and left ${left.join(', ')}`;
  } finally {
    clearTimeout(timer);
  }
  const seconds = (performance.now() - start) / 1000;
  return seconds * 1000 > LIMIT ? `took ${seconds.toFixed(1)} s` : undefined;
}

/** Frees the resources that a call opened. */
async function closed(result: unknown): Promise<void> {
  if (typeof result !== 'object' || result === null) return;
  if ('close' in result && typeof result.close === 'function') await result.close();
  if (Symbol.dispose in result && typeof result[Symbol.dispose] === 'function')
    (result[Symbol.dispose] as () => void).call(result);
}

function describe(value: unknown): string {
  if (value instanceof Function) return 'function';
  if (typeof value === 'object' && value !== null) {
    try {
      return `${Object.prototype.toString.call(value)} ${JSON.stringify(value).slice(0, 40)}`;
    } catch {
      return 'object';
    }
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}
