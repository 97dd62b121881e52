// Opens a device that the user did not choose: WebAssembly where the CPU's kernels cannot be compiled.
import { rmdirSync } from 'node:fs';
import { DeviceError } from '../errors.ts';
import { KernelCache, privateFolder } from './cache.ts';
import { describeMissingCompiler, lookForCompilerAsync } from './cc.ts';
import type { Device } from './device.ts';
import { type OpenOptions, openDevice } from './open.ts';
import { ffiVersion } from './system_library.ts';

/**
 * Same as openDevice, for a name that the user did not choose. If the machine has no C compiler, koffi does not load, or no folder can
 * hold libraries, the device wasm is opened in place of 'cpu'.
 * @param onNotice called with the reason
 * @throws CompileError if CC is set and cannot be run; DeviceError naming both remedies, if the WebAssembly module is missing too
 */
export async function openDefaultDevice(
  name: string,
  options: OpenOptions,
  onNotice: (text: string) => void,
): Promise<Device> {
  const { precision = 'fp32' } = options;
  const obstacle = name === 'cpu' && precision === 'fp32' ? await obstacleToCpu() : undefined;
  if (obstacle === undefined) return openDevice(name, options);
  const { notice, remedy, gain = '' } = obstacle;
  const device = await openDevice('wasm', options).catch((cause) => {
    throw new DeviceError(
      `no device can be opened. ${remedy}. Or, for the same kernels in WebAssembly: ${cause.message}`,
      { cause },
    );
  });
  onNotice(`${notice}: computing in WebAssembly, on the device wasm${gain}`);
  return device;
}

/** Why the device cpu cannot be opened on this machine, apart from a wrong CC. */
async function obstacleToCpu(): Promise<{ notice: string; remedy: string; gain?: string } | undefined> {
  const compiler = await lookForCompilerAsync();
  if ('tried' in compiler)
    return {
      notice: `no C compiler was found (tried ${compiler.tried})`,
      gain: '; a C compiler makes it about twice as fast (Debian, Ubuntu: `apt-get install gcc`)',
      remedy: describeMissingCompiler(compiler.tried),
    };
  try {
    ffiVersion();
    if (new KernelCache().folder === undefined) rmdirSync(privateFolder());
    return undefined;
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { notice: error.message, remedy: error.message };
  }
}
