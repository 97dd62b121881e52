// Opening a device by name, once per name and thread count.
import { DeviceError, ValueError } from '../errors.ts';
import { CpuDevice } from './cpu.ts';
import { debugLine } from './debug.ts';
import type { Device } from './device.ts';

export interface OpenOptions {
  /** CPU: threads that kernels use, the calling one included. Results do not depend on it. */
  threads?: number;
}

const open = new Map<string, Device>();
let current: Device | undefined;

/**
 * Opens a device; the first one opened becomes the default of tensors made without one.
 * @param name `'cpu'`
 * @throws DeviceError, CompileError saying what is missing and what to do
 */
export async function openDevice(name = 'cpu', options: OpenOptions = {}): Promise<Device> {
  const { threads } = options;
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 256))
    throw new ValueError(`threads must be a whole number from 1 to 256, got ${threads}`);
  if (name !== 'cpu') throw new DeviceError(`unknown device "${name}"; this version has: cpu`);
  const key = `${name}/${threads ?? 'default'}`;
  let device = open.get(key);
  if (!device) {
    device = new CpuDevice(options);
    open.set(key, device);
    debugLine(1, `device ${name}, ${device.workers} threads`);
  }
  current ??= device;
  return device;
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
