// A network without memory, like PyTorch's meta device: its tensors have only names and shapes. It gives the size of a
// network, and the tensors that a file must have to match it, before memory is allocated.
import { type Device, type MemoryFigures, type Recording, registerDevice } from '../device/device.ts';
import { DeviceError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import { keep } from '../tensor/scope.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Initializer } from './init.ts';
import { UNet } from './unet.ts';
import type { UNetOptions } from './unet_options.ts';

/** A device that hands out addresses without memory. */
class OutlineDevice implements Device {
  readonly kind = 'cpu';
  readonly computesBf16 = false;
  readonly name = 'outline';
  readonly precision = 'fp32';
  readonly exact = true;
  readonly description = 'no memory, only shapes';
  readonly workers = 1;
  private next = 1;
  private live = 0;

  constructor() {
    registerDevice(this);
  }

  allocate(bytes: number): number {
    this.live += bytes;
    return this.next++;
  }

  free(): void {}

  memory(): MemoryFigures {
    return { live: this.live, highWater: this.live, reserved: 0 };
  }

  resetHighWater(): void {}

  trim(): number {
    return 0;
  }

  async prepare(): Promise<void> {}

  async synchronize(): Promise<void> {}

  upload(): never {
    throw refusal();
  }

  download(): never {
    throw refusal();
  }

  copy(): never {
    throw refusal();
  }

  fill(): never {
    throw refusal();
  }

  load(): never {
    throw refusal();
  }

  table(): never {
    throw refusal();
  }

  record(): Recording {
    throw refusal();
  }
}

function refusal(): DeviceError {
  return new DeviceError('a network without memory cannot compute');
}

class OutlineInitializer extends Initializer {
  override uniform(shape: Shape): Tensor {
    return this.outline(shape);
  }

  override normal(shape: Shape): Tensor {
    return this.outline(shape);
  }

  override constant(shape: Shape): Tensor {
    return this.outline(shape);
  }

  private outline(shape: Shape): Tensor {
    return keep(empty(shape, { device: this.device })).requireGrad();
  }
}

/**
 * An initialiser of networks without memory: their tensors have names and shapes, for a comparison with files or to be
 * replaced by the tensors of a file.
 */
export function outlineInitializer(): Initializer {
  return new OutlineInitializer({ device: new OutlineDevice() });
}

/** Creates the network of these options without memory; the caller disposes it. @throws as UNet */
export function outlineUNet(options: UNetOptions): UNet {
  return new UNet(options, new OutlineInitializer({ seed: options.seed, device: new OutlineDevice() }));
}
