// Creates the devices of Node. hosts.browser.ts stands in for this file in a bundle for browsers.
import { loadCompanions } from './companions.ts';
import { CpuDevice } from './cpu.ts';
import type { Device } from './device.ts';
import type { OpenOptions } from './open.ts';

/** The device that openDevice() opens without a name. */
export const defaultName = 'cpu';

/** @param kind cpu, wasm or cuda @throws DeviceError, CompileError */
export async function createDevice(
  kind: string,
  index: number,
  { threads, precision, exact, march }: OpenOptions,
): Promise<Device> {
  if (kind === 'cpu') return CpuDevice.open({ threads, exact, march });
  // A program that opens no other device does not load their code.
  if (kind === 'wasm') {
    const [{ WasmDevice }, { nodeHost }] = await Promise.all([import('./wasm.ts'), import('./wasm_node.ts')]);
    return WasmDevice.open(await nodeHost(), { threads, exact });
  }
  const [{ CudaDevice }] = await Promise.all([import('./cuda/device.ts'), loadCompanions('cuda')]);
  return new CudaDevice(index, { precision });
}
