// Small int32 tables (strides, sizes) that kernels read: one copy on the device for each content, kept for its life.
import type { Device } from './device.ts';

export class Tables {
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
      address = this.device.allocate(Math.max(4, values.length * 4));
      this.device.upload(address, Int32Array.from(values));
      this.addresses.set(key, address);
    }
    return address;
  }
}
