// The foreign-function interface, and the only importer of koffi: open a library, bind its functions to numbers.
// koffi is loaded at the first native device, not when this package is imported. A library is never closed: its
// threads may still run in it, and unloading one during a call is a crash.
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { DeviceError } from '../../errors.ts';
import { parseSignature, type Signature } from '../module.ts';

let koffi: typeof Koffi | undefined;

function ffi(): typeof Koffi {
  if (!koffi) {
    try {
      koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    } catch (cause) {
      throw new DeviceError('native devices need the package koffi: run `npm install koffi`', { cause });
    }
  }
  return koffi;
}

export function ffiVersion(): string {
  return ffi().version;
}

const TYPES: Record<string, string> = {
  ptr: 'uintptr_t',
  i32: 'int32_t',
  f32: 'float',
  f64: 'double',
  array: 'void *',
};

export class Library {
  readonly path: string;
  private readonly handle: Koffi.LibraryHandle;

  /** @throws DeviceError naming the path and the loader's reason */
  constructor(path: string) {
    this.path = path;
    try {
      this.handle = ffi().load(path);
    } catch (cause) {
      throw new DeviceError(`cannot load ${path}: ${(cause as Error).message}`, { cause });
    }
  }

  /** Kinds as in a kernel's signature. @throws DeviceError when the symbol is missing */
  bind(symbol: string, signature: Signature): (...values: number[]) => number {
    const { parameters, returns } = parseSignature(signature);
    return this.bindKinds(symbol, parameters, returns);
  }

  /** As `bind`, with the kind 'array' too: a typed array, used in place for the duration of the call. */
  bindKinds<Value = number>(
    symbol: string,
    parameters: readonly string[],
    returns: 'void' | 'f64',
  ): (...values: Value[]) => number {
    try {
      const result = returns === 'void' ? 'void' : 'double';
      return this.handle.func(
        symbol,
        result,
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
