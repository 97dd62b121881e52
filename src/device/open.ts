// Opens devices by name, once per name and options.
import { rmdirSync } from 'node:fs';
import { checkArgument, checkOptions, kinds, oneOf, requireWhole } from '../arguments.ts';
import { DeviceError } from '../errors.ts';
import { KernelCache, privateFolder } from './cache.ts';
import { describeMissingCompiler, lookForCompilerAsync } from './cc.ts';
import { loadCompanions } from './companions.ts';
import { CpuDevice } from './cpu.ts';
import { debugLine } from './debug.ts';
import { type Device, deviceKind, deviceNames, nearestDevice, type Precision, precisions } from './device.ts';
import { MOST_THREADS } from './environment.ts';
import { ffiVersion } from './system_library.ts';

export interface OpenOptions {
  /** CPU and WebAssembly: the number of threads, including the calling one. Results do not depend on it. */
  threads?: number;
  /** CUDA: the precision of convolutions and matrix products; default `fp32`. One card may be open in several precisions. */
  precision?: Precision;
  /** CPU and WebAssembly: compute all convolutions as direct sums, never by Winograd's algorithm; default false. */
  exact?: boolean;
  /**
   * CPU: the instruction set of the kernels by the compiler's name, such as `x86-64-v3`; default RECTIFLOW_MARCH, or the
   * processor's own. An instruction set that the processor lacks ends the process with an illegal instruction.
   */
  march?: string;
}

const openOptions = {
  threads: kinds.number,
  precision: oneOf(precisions),
  exact: kinds.boolean,
  march: kinds.text,
};

/** Devices by name and options, open or being opened. */
const open = new Map<string, Promise<Device>>();
let current: Device | undefined;

/**
 * Opens a device. The first one becomes the default device of new tensors.
 * @param name `'cpu'`; `'wasm'`, the same kernels in WebAssembly; `'cuda'`, the first card; `'cuda:1'`, the second
 * @throws DeviceError, CompileError saying what is missing and what to do
 * @example
 * const device = await openDevice('cpu');
 * device.kind; // 'cpu'
 */
export async function openDevice(name = 'cpu', options: OpenOptions = {}): Promise<Device> {
  checkArgument('openDevice', 'name', name, kinds.text);
  const {
    threads,
    precision = 'fp32',
    exact = false,
    march,
  } = checkOptions<OpenOptions>('openDevice', options, openOptions);
  if (threads !== undefined) requireWhole('threads', threads, 1, MOST_THREADS);
  const { kind, index } = parseDeviceName(name);
  if (kind !== 'cuda' && precision !== 'fp32')
    throw new DeviceError(`precision ${precision} needs the device cuda; ${kind} computes in fp32`);
  const key =
    kind === 'cuda' ? `cuda:${index}/${precision}` : `${kind}/${threads ?? 'default'}/${exact}/${march ?? 'default'}`;
  let opening = open.get(key);
  if (!opening) {
    opening = create(kind, index, options);
    open.set(key, opening);
    opening.catch(() => open.delete(key));
  }
  const device = await opening;
  current ??= device;
  return device;
}

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

async function create(kind: string, index: number, options: OpenOptions): Promise<Device> {
  const device = await deviceOf(kind, index, options);
  debugLine(1, `device ${device.name}: ${device.description}`);
  return device;
}

async function deviceOf(
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

/** @throws DeviceError for an unknown device name */
export function parseDeviceName(name: string): { kind: string; index: number } {
  const match = deviceNames.exec(name);
  if (!match) {
    const near = nearestDevice(name);
    throw new DeviceError(
      `unknown device "${name}"; this version has: cpu, wasm, cuda, cuda:1, ...${near === undefined ? '' : `; did you mean ${near}?`}`,
    );
  }
  const [, kind = 'cuda', index = '0'] = match;
  return { kind, index: Number(index) };
}

/** The device of tensors that are created without naming one. @throws DeviceError before openDevice */
export function defaultDevice(): Device {
  if (!current) throw new DeviceError("no device is open: call `await openDevice('cpu')` first");
  return current;
}

/** Makes `device` the default of this thread. */
export function setDefaultDevice(device: Device): void {
  checkArgument('setDefaultDevice', 'device', device, deviceKind);
  current = device;
}
