// Creates the device of a browser. A bundle for browsers has this file in place of hosts.ts.
import { DeviceError } from '../errors.ts';
import type { Device } from './device.ts';
import type { OpenOptions } from './open.ts';
import { WasmDevice } from './wasm.ts';
import { browserHost } from './wasm_browser.ts';

export const defaultName = 'wasm';

/** @throws DeviceError for any other kind than wasm, and in a browser without SIMD in WebAssembly */
export async function createDevice(kind: string, _index: number, { threads, exact }: OpenOptions): Promise<Device> {
  if (kind !== 'wasm') throw new DeviceError(`the device ${kind} needs Node; a browser has the device wasm`);
  return WasmDevice.open(await browserHost(), { threads, exact });
}
