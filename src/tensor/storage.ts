// A piece of device memory and how many tensors share it; the last one to let go frees it.
import type { Device } from '../device/device.ts';

export class Storage {
  readonly device: Device;
  readonly address: number;
  readonly bytes: number;
  /** Tensors (views and the graph's saved ones included) that share this memory. */
  references = 1;

  constructor(device: Device, bytes: number) {
    this.device = device;
    this.bytes = bytes;
    this.address = device.allocate(Math.max(bytes, 1));
  }

  retain(): this {
    this.references++;
    return this;
  }

  release(): void {
    if (--this.references === 0) this.device.free(this.address);
  }
}
