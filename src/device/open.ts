// Opens devices by name, once per name and options.
import { checkArgument, checkOptions, kinds, oneOf, requireWhole } from '../arguments.ts';
import { DeviceError } from '../errors.ts';
import { debugLine } from './debug.ts';
import { type Device, deviceKind, deviceNames, nearestDevice, type Precision, precisions } from './device.ts';
import { MOST_THREADS } from './environment.ts';
import { createDevice, defaultName } from './hosts.ts';

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
 * @param name `'cpu'`; `'wasm'`, the same kernels in WebAssembly; `'cuda'`, the first card; `'cuda:1'`, the second. Default:
 *   `'cpu'`; in a browser `'wasm'`, the only device there
 * @throws DeviceError, CompileError saying what is missing and what to do
 * @example
 * const device = await openDevice('cpu');
 * device.kind; // 'cpu'
 */
export async function openDevice(name: string = defaultName, options: OpenOptions = {}): Promise<Device> {
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

async function create(kind: string, index: number, options: OpenOptions): Promise<Device> {
  const device = await createDevice(kind, index, options);
  debugLine(1, `device ${device.name}: ${device.description}`);
  return device;
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
