// A reference-counted block of device memory. It is freed when the last tensor that shares it is disposed.
import type { Device } from '../device/device.ts';
import { OutOfMemoryError } from '../errors.ts';

/** How many owners an out-of-memory error lists, the largest first. */
const LISTED = 8;

/** Every storage that this thread has in use. */
const live = new Set<Storage>();

export class Storage {
  // Private, because kernels rely on these values without checking them.
  readonly #device: Device;
  readonly #address: number;
  readonly #bytes: number;
  #references = 1;
  /** What it is for, or the op whose result it holds. */
  owner = 'other';
  #writes = 0;

  /** @throws OutOfMemoryError with the bytes that each owner uses on that device */
  constructor(device: Device, bytes: number) {
    this.#device = device;
    this.#bytes = bytes;
    try {
      this.#address = device.allocate(Math.max(bytes, 1));
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      throw new OutOfMemoryError([error.message, ...ownersOn(device)], { cause: error });
    }
    live.add(this);
  }

  get device(): Device {
    return this.#device;
  }

  get address(): number {
    return this.#address;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Tensors (views and the graph's saved ones included) that share this memory. */
  get references(): number {
    return this.#references;
  }

  /** How often its contents were overwritten after an op or the host first wrote them. */
  get writes(): number {
    return this.#writes;
  }

  /** Called when its contents are overwritten. backward() of a graph that saved them then throws. */
  markWritten(): void {
    this.#writes++;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    live.delete(this);
    this.#device.free(this.#address);
  }
}

/** Bytes in use on a device, by owner. */
export function liveByOwner(device: Device): Map<string, number> {
  const owners = new Map<string, number>();
  for (const storage of live)
    if (storage.device === device) owners.set(storage.owner, (owners.get(storage.owner) ?? 0) + storage.bytes);
  return owners;
}

/** One line per owner: bytes, tensors, name. */
function ownersOn(device: Device): string[] {
  const owners = new Map<string, { bytes: number; count: number }>();
  for (const storage of live) {
    if (storage.device !== device) continue;
    const sum = owners.get(storage.owner) ?? { bytes: 0, count: 0 };
    owners.set(storage.owner, { bytes: sum.bytes + storage.bytes, count: sum.count + 1 });
  }
  const largest = [...owners].sort(([, a], [, b]) => b.bytes - a.bytes);
  return largest
    .slice(0, LISTED)
    .map(([name, { bytes, count }]) => `  ${(bytes / 2 ** 20).toFixed(1).padStart(10)} MiB in ${count} of ${name}`);
}
