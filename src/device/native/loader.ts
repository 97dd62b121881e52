// The foreign-function interface, and the only importer of koffi: open a library, bind its functions to numbers.
// koffi is loaded at the first native device, not when this package is imported. A library is never closed: its
// threads may still run in it, and unloading one during a call is a crash.
import { existsSync, realpathSync } from 'node:fs';
import { resolve } from 'node:path';
import type * as Koffi from 'koffi';
import { DeviceError } from '../../errors.ts';
import { parseSignature, type Signature } from '../module.ts';

let koffi: typeof Koffi | undefined;

function ffi(): typeof Koffi {
  koffi ??= loadKoffi();
  return koffi;
}

/** @throws DeviceError saying whether koffi is absent or does not load, and what to do */
function loadKoffi(): typeof Koffi {
  for (const place of places()) {
    // Asked for like this, since bundlers take calls of an imported createRequire for their own.
    const require = process.getBuiltinModule('node:module').createRequire(place);
    try {
      require.resolve('koffi');
    } catch {
      continue;
    }
    try {
      return require('koffi') as typeof Koffi;
    } catch (cause) {
      throw new DeviceError(
        `the package koffi, which native devices need, does not load (${(cause as Error).message.trim()}). Its file for this ` +
          `system (${process.platform} ${process.arch}) is an optional dependency: run \`npm install --include=optional koffi\``,
        { cause },
      );
    }
  }
  throw new DeviceError('native devices need the package koffi: run `npm install koffi`');
}

/**
 * Files beside which koffi may be installed: this one, and the program, which may be a bundle that this one has become a part of.
 * There `import.meta.url` is nothing (CommonJS), or the place that the source had where the bundle was made.
 */
function places(): string[] {
  const program = resolve(process.argv[1] ?? 'program');
  const linked = existsSync(program) ? [realpathSync(program)] : [];
  return [import.meta.url, program, ...linked].filter((place) => place !== undefined);
}

export function ffiVersion(): string {
  return ffi().version;
}

const TYPES: Record<string, string> = {
  void: 'void',
  ptr: 'uintptr_t',
  size: 'size_t',
  i32: 'int32_t',
  u32: 'uint32_t',
  f32: 'float',
  f64: 'double',
  count: 'double',
  array: 'void *',
  str: 'const char *',
  strs: 'const char **',
};

let copyMemory: ((target: Uint8Array, address: number, bytes: number) => void) | undefined;

/** Copies from native memory. The caller answers for `address` being readable over the whole length of `target`. */
function readMemory(address: number, target: Uint8Array): void {
  copyMemory ??= ffi().load(null).func('memcpy', 'void', ['void *', 'uintptr_t', 'size_t']);
  // An empty array has no address of its own.
  if (target.byteLength > 0) copyMemory(target, address, target.byteLength);
}

/** Native memory as an array, without a copy. The caller answers for the memory living as long as the array. */
export function memoryView(address: number, bytes: number): Uint8Array {
  return new Uint8Array(ffi().view(BigInt(address), bytes));
}

let stringLength: ((address: number) => number) | undefined;

/** The text at an address, up to its zero. */
export function readText(address: number): string {
  stringLength ??= ffi().load(null).func('strlen', 'size_t', ['uintptr_t']);
  const bytes = new Uint8Array(Number(stringLength(address)));
  readMemory(address, bytes);
  return new TextDecoder().decode(bytes);
}

/** Where the elements of `array` lie. Its buffer must be larger than 64 bytes (smaller ones may move) and outlive the use. */
export function addressOf(array: ArrayBufferView): number {
  return Number(ffi().address(array));
}

/** Calls a bound function on a thread of its own (four at a time); JavaScript goes on meanwhile. */
export function inBackground<Values extends unknown[], Result>(
  bound: (...values: Values) => Result,
  ...values: Values
): Promise<Result> {
  const { async: call } = bound as unknown as { async: (...values: unknown[]) => void };
  return new Promise((resolve, reject) => {
    call(...values, (error: unknown, result: Result) => (error ? reject(error) : resolve(result)));
  });
}

/** A function of JavaScript as a C function; its address is good until it is disposed. It runs on the thread of JavaScript. */
export function callback(
  parameters: readonly string[],
  fn: (...values: number[]) => void,
): { readonly address: number } & Disposable {
  const { proto, pointer, register, unregister } = ffi();
  const types = parameters.map((parameter) => TYPES[parameter]).join(', ');
  const registered = register(fn, pointer(proto(`void (${types})`)));
  return { address: Number(registered), [Symbol.dispose]: () => unregister(registered) };
}

export class Library {
  readonly path: string;
  private readonly handle: Koffi.LibraryHandle;

  /**
   * @param path 'process': what this process has loaded already
   * @throws DeviceError naming the path and the loader's reason
   */
  constructor(path: string | 'process') {
    this.path = path;
    const { load } = ffi();
    try {
      this.handle = load(path === 'process' ? null : path);
    } catch (cause) {
      throw new DeviceError(`cannot load ${path}: ${(cause as Error).message}`, { cause });
    }
  }

  /** Kinds as in a kernel's signature. @throws DeviceError when the symbol is missing */
  bind(symbol: string, signature: Signature): (...values: number[]) => number {
    const { parameters, returns } = parseSignature(signature);
    return this.bindKinds(symbol, parameters, returns);
  }

  /**
   * As `bind`, with more kinds: 'array', a typed array that is used in place for the duration of the call; 'str', a string
   * that is copied; 'strs', a list of them; 'size' and 'u32'.
   */
  bindKinds<Value = number, Result = number>(
    symbol: string,
    parameters: readonly string[],
    returns: string,
  ): (...values: Value[]) => Result {
    try {
      return this.handle.func(
        symbol,
        TYPES[returns],
        parameters.map((kind) => TYPES[kind]),
      );
    } catch (cause) {
      throw new DeviceError(`${this.path} lacks the function ${symbol}: ${(cause as Error).message}`, { cause });
    }
  }

  /** The address of a symbol as a number. */
  address(symbol: string): number {
    const address = Number(this.handle.symbol(symbol));
    if (!Number.isSafeInteger(address)) throw new DeviceError(`${this.path}: the address of ${symbol} is beyond 2^53`);
    return address;
  }
}
