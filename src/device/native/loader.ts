// The foreign-function interface: opens libraries and binds their functions. This is the only importer of koffi, which is loaded when
// the first native device is opened, not when the package is imported. A library is never closed, because its threads may still run
// in it.
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

/** @throws DeviceError saying whether koffi is absent or fails to load, and what to do */
function loadKoffi(): typeof Koffi {
  for (const place of places()) {
    // Written this way because bundlers rewrite calls of an imported createRequire.
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
 * Files next to which koffi may be installed: this one, and the main program, which may be a bundle that contains this one. In a bundle
 * `import.meta.url` is undefined (CommonJS) or the source's path on the machine that built the bundle.
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

/** Copies from native memory. The caller guarantees that the whole length of `target` is readable at `address`. */
function readMemory(address: number, target: Uint8Array): void {
  copyMemory ??= ffi().load(null).func('memcpy', 'void', ['void *', 'uintptr_t', 'size_t']);
  // An empty array has no address.
  if (target.byteLength > 0) copyMemory(target, address, target.byteLength);
}

/** A view of native memory as an array. The caller guarantees that the memory outlives the array. */
export function memoryView(address: number, bytes: number): Uint8Array {
  return new Uint8Array(ffi().view(BigInt(address), bytes));
}

let stringLength: ((address: number) => number) | undefined;

/** The zero-terminated text at an address. */
export function readCString(address: number): string {
  stringLength ??= ffi().load(null).func('strlen', 'size_t', ['uintptr_t']);
  const bytes = new Uint8Array(Number(stringLength(address)));
  readMemory(address, bytes);
  return new TextDecoder().decode(bytes);
}

/** The address of an array's elements. Its buffer must be larger than 64 bytes (smaller ones may move) and outlive the use. */
export function addressOf(array: ArrayBufferView): number {
  return Number(ffi().address(array));
}

/** Calls a bound function on another thread, at most four at a time, without blocking JavaScript. */
export function inBackground<Values extends unknown[], Result>(
  bound: (...values: Values) => Result,
  ...values: Values
): Promise<Result> {
  const { async: call } = bound as unknown as { async: (...values: unknown[]) => void };
  return new Promise((resolve, reject) => {
    call(...values, (error: unknown, result: Result) => (error ? reject(error) : resolve(result)));
  });
}

/** Wraps a JavaScript function as a C function. Its address is valid until it is disposed. It runs on the JavaScript thread. */
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
   * @param path 'process' stands for the symbols that this process has loaded already
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

  /** Binds a function; the kinds are those of a kernel's signature. @throws DeviceError if the symbol is missing */
  bind(symbol: string, signature: Signature): (...values: number[]) => number {
    const { parameters, returns } = parseSignature(signature);
    return this.bindKinds(symbol, parameters, returns);
  }

  /**
   * Same as `bind`, with more kinds: 'array' is a typed array that is used in place during the call, 'str' a string that is copied,
   * 'strs' a list of strings; also 'size' and 'u32'.
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
