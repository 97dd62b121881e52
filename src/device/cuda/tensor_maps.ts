// Tensor maps: 128-byte descriptions, written by the driver, of tensors whose tiles the copy engine (TMA) of sm_90 brings into shared
// memory. Kernels take them by value, so that a recorded graph holds its own copies.
import { DeviceError } from '../../errors.ts';
import type { TensorMaps } from '../device.ts';
import type { TensorMapEncoder } from '../native/libcuda.ts';
import { addressOf } from '../native/loader.ts';

const MAP_BYTES = 128;
const MAP_ALIGNMENT = 64;
/** How many maps are cached. A training step of the official CIFAR-10 network uses about 600. */
const KEPT = 2048;
const MOST_TOGETHER = 32;
const BF16_BYTES = 2;
/** Bytes of one row of a tile, which is the width of the swizzle. */
const ROW_BYTES = 128;
const ROW = ROW_BYTES / BF16_BYTES;

export class CudaTensorMaps implements TensorMaps {
  private readonly encoder: TensorMapEncoder;
  private readonly memory = new Uint8Array((KEPT + MOST_TOGETHER + 1) * MAP_BYTES);
  private readonly first: number;
  /** Maps by what they describe, in order of last use. */
  private readonly known = new Map<string, number>();

  constructor(encoder: TensorMapEncoder) {
    this.encoder = encoder;
    this.first = Math.ceil(addressOf(this.memory) / MAP_ALIGNMENT) * MAP_ALIGNMENT;
  }

  rows(address: number, [rows, columns]: readonly [number, number], count: number): number {
    return this.kept(`${address} ${rows} ${columns} ${count}`, (map) =>
      this.encoder.tiled(map, {
        address,
        extents: [columns, rows],
        pitches: [columns * BF16_BYTES],
        box: [ROW, count],
      }),
    );
  }

  patches(
    address: number,
    [n, height, width, channels]: readonly number[],
    [lowerY, lowerX]: readonly [number, number],
    [upperY, upperX]: readonly [number, number],
    count: number,
  ): number {
    const key = [address, n, height, width, channels, lowerY, lowerX, upperY, upperX, count].join(' ');
    return this.kept(key, (map) =>
      this.encoder.im2col(map, {
        address,
        extents: [channels, width, height, n],
        pitches: [channels, width * channels, height * width * channels].map((elements) => elements * BF16_BYTES),
        lower: [lowerX, lowerY],
        upper: [upperX, upperY],
        channels: ROW,
        pixels: count,
      }),
    );
  }

  together(maps: readonly number[]): number {
    if (maps.length > MOST_TOGETHER) throw new DeviceError(`${maps.length} tensor maps, at most ${MOST_TOGETHER}`);
    const [start, target] = [addressOf(this.memory), this.first + KEPT * MAP_BYTES];
    maps.forEach((map, i) => {
      this.memory.copyWithin(target - start + i * MAP_BYTES, map - start, map - start + MAP_BYTES);
    });
    return target;
  }

  private kept(key: string, encode: (map: number) => void): number {
    let map = this.known.get(key);
    if (map !== undefined) {
      this.known.delete(key);
      this.known.set(key, map);
      return map;
    }
    const oldest = this.known.size === KEPT ? this.known.entries().next().value : undefined;
    map = oldest ? oldest[1] : this.first + this.known.size * MAP_BYTES;
    try {
      encode(map);
    } catch (cause) {
      throw new DeviceError(`no tensor map for ${key}: ${(cause as Error).message}`, { cause });
    }
    if (oldest) this.known.delete(oldest[0]);
    this.known.set(key, map);
    return map;
  }
}
