// Which kernels a test launches on the emulated card.
import { vi } from 'vitest';
import type { CudaDevice } from '../../src/device/cuda/device.ts';
import type { AnyModule } from '../../src/device/module.ts';

/** Names of the kernels that the device launches from now on, until mocks are restored. */
export function launchesOf(device: CudaDevice): string[] {
  const names: string[] = [];
  const load = device.load.bind(device) as (module: AnyModule) => Record<string, (...values: unknown[]) => void>;
  vi.spyOn(device, 'load').mockImplementation(((module: AnyModule) =>
    Object.fromEntries(
      Object.entries(load(module)).map(([name, launch]) => [
        name,
        (...values: unknown[]) => {
          names.push(name);
          launch(...values);
        },
      ]),
    )) as never);
  return names;
}
