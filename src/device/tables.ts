// Small int32 tables (strides, sizes) that kernels read. Each distinct table is uploaded once and kept for the device's lifetime.
import type { Device } from './device.ts';

/** Tables share large allocations, so that single tables do not keep reservations from being returned. */
const CHUNK = 8192;
const ALIGNMENT = 64;

export class Tables {
  private chunk = 0;
  private left = 0;
  private readonly device: Pick<Device, 'allocate' | 'upload'>;
  private readonly addresses = new Map<string, number>();

  constructor(device: Pick<Device, 'allocate' | 'upload'>) {
    this.device = device;
  }

  has(values: readonly number[]): boolean {
    return this.addresses.has(values.join(' '));
  }

  address(values: readonly number[]): number {
    const key = values.join(' ');
    let address = this.addresses.get(key);
    if (address === undefined) {
      address = this.place(Math.max(1, Math.ceil((values.length * 4) / ALIGNMENT)) * ALIGNMENT);
      this.device.upload(address, Int32Array.from(values));
      this.addresses.set(key, address);
    }
    return address;
  }

  private place(bytes: number): number {
    if (bytes > this.left) {
      this.left = Math.max(CHUNK, bytes);
      this.chunk = this.device.allocate(this.left);
    }
    const address = this.chunk;
    this.chunk += bytes;
    this.left -= bytes;
    return address;
  }
}
