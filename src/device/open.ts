// Opening a device by name, once per name and thread count.
import { DeviceError, ValueError } from '../errors.ts';
import { CpuDevice } from './cpu.ts';
import { CudaDevice } from './cuda/device.ts';
import { debugLine } from './debug.ts';
import { type Device, type Precision, precisions } from './device.ts';

export interface OpenOptions {
  /** CPU: threads that kernels use, the calling one included. Results do not depend on it. */
  threads?: number;
  /** CUDA: what convolutions and matrix products may round to; default `fp32`. One card may be open in several. */
  precision?: Precision;
}

const open = new Map<string, Device>();
let current: Device | undefined;

/**
 * Opens a device; the first one opened becomes the default of tensors made without one.
 * @param name `'cpu'`; `'cuda'`, the first card; `'cuda:1'`, the second
 * @throws DeviceError, CompileError saying what is missing and what to do
 */
export async function openDevice(name = 'cpu', options: OpenOptions = {}): Promise<Device> {
  const { threads, precision = 'fp32' } = options;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 256))
    throw new ValueError(`threads must be a whole number from 1 to 256, got ${threads}`);
  const [, kind, index = '0'] = /^(?:(cpu)|cuda(?::(\d+))?)$/.exec(name) ?? unknown(name);
  if (!precisions.includes(precision))
    throw new ValueError(`precision must be one of ${precisions.join(', ')}, got ${precision}`);
  if (kind === 'cpu' && precision !== 'fp32')
    throw new DeviceError(`precision ${precision} needs the device cuda; cpu computes in fp32`);
  const key = kind === 'cpu' ? `cpu/${threads ?? 'default'}` : `cuda:${index}/${precision}`;
  let device = open.get(key);
  if (!device) {
    device = kind === 'cpu' ? new CpuDevice(options) : new CudaDevice(Number(index), { precision });
    open.set(key, device);
    debugLine(1, `device ${device.name}: ${device.description}`);
  }
  current ??= device;
  return device;
}

function unknown(name: string): never {
  throw new DeviceError(`unknown device "${name}"; this version has: cpu, cuda, cuda:1, ...`);
}

/** The device of tensors made without naming one. @throws DeviceError before openDevice */
export function defaultDevice(): Device {
  if (!current) throw new DeviceError("no device is open: call `await openDevice('cpu')` first");
  return current;
}

/** Makes `device` the default of this thread. */
export function setDefaultDevice(device: Device): void {
  current = device;
}
