// A piece of device memory and how many tensors share it; the last one to let go frees it.
import type { Device } from '../device/device.ts';
import { OutOfMemoryError } from '../errors.ts';

/** Owners that an out-of-memory error lists, the largest first. */
const LISTED = 8;

/** All that is in use, by this thread. */
const live = new Set<Storage>();

export class Storage {
  // Kernels trust these, so nobody can change them from outside.
  readonly #device: Device;
  readonly #address: number;
  readonly #bytes: number;
  #references = 1;
  /** What it is for, or the op whose result it holds. */
  owner = 'other';
  #writes = 0;

  /** @throws OutOfMemoryError with the bytes that each owner has in use on that device */
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

  /** How often its contents were replaced after an op or the host had made them. */
  get writes(): number {
    return this.#writes;
  }

  /** Called when its contents are replaced. A graph that saved them then refuses backward(). */
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

/** Bytes in use on a device by what they are for. */
export function liveByOwner(device: Device): Map<string, number> {
  const owners = new Map<string, number>();
  for (const storage of live)
    if (storage.device === device) owners.set(storage.owner, (owners.get(storage.owner) ?? 0) + storage.bytes);
  return owners;
}

/** A line an owner: bytes, tensors, name. */
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
