// Weights of several networks of one shape in 8 bits. A row of a matrix or of a kernel has one scale, the same in all networks; the second
// network and the third are kept as differences from the one before, modulo 256, which are small numbers that gzip shortens.

/** A tensor of 32-bit floats. */
export interface Weights {
  shape: readonly number[];
  data: Float32Array;
}

export interface PackedTensor {
  shape: readonly number[];
  dtype: 'i8' | 'f32';
  data: Int8Array | Float32Array;
}

const LEVELS = 127;
const scaleName = (name: string) => `scale.${name}`;

/** Tensors by name: `1.NAME`, `2.NAME`, ... and `scale.NAME` for the rows of those with more than one axis. */
export function packNetworks(networks: readonly ReadonlyMap<string, Weights>[]): Record<string, PackedTensor> {
  const packed: Record<string, PackedTensor> = {};
  for (const [name, { shape }] of networks[0]) {
    const all = networks.map((network) => (network.get(name) as Weights).data);
    if (shape.length < 2) {
      for (const [k, data] of all.entries()) packed[`${k + 1}.${name}`] = { shape, dtype: 'f32', data };
      continue;
    }
    const rows = shape[0];
    const row = all[0].length / rows;
    const scale = new Float32Array(rows);
    for (const data of all)
      for (const [i, value] of data.entries()) {
        const at = Math.floor(i / row);
        scale[at] = Math.max(scale[at], Math.abs(value) / LEVELS);
      }
    packed[scaleName(name)] = { shape: [rows], dtype: 'f32', data: scale };
    const before = new Int8Array(all[0].length);
    for (const [k, data] of all.entries()) {
      const levels = Int8Array.from(data, (value, i) => Math.round(value / (scale[Math.floor(i / row)] || 1)));
      packed[`${k + 1}.${name}`] = { shape, dtype: 'i8', data: levels.map((level, i) => level - before[i]) };
      before.set(levels);
    }
  }
  return packed;
}

/** The networks again, each weight within half a level. */
export function unpackNetworks(
  packed: ReadonlyMap<string, { shape: readonly number[]; data: ArrayLike<number | bigint> }>,
  count: number,
): Map<string, Weights>[] {
  const networks = Array.from({ length: count }, () => new Map<string, Weights>());
  for (const [key, { shape, data }] of packed) {
    if (!key.startsWith('1.')) continue;
    const name = key.slice(2);
    const scale = packed.get(scaleName(name))?.data as Float32Array | undefined;
    const levels = new Int8Array(data.length);
    for (const [k, network] of networks.entries()) {
      const own = packed.get(`${k + 1}.${name}`)?.data as Int8Array | Float32Array;
      if (!scale) {
        network.set(name, { shape, data: Float32Array.from(own) });
        continue;
      }
      const row = data.length / scale.length;
      for (let i = 0; i < own.length; i++) levels[i] += own[i];
      network.set(name, { shape, data: Float32Array.from(levels, (level, i) => level * scale[Math.floor(i / row)]) });
    }
  }
  return networks;
}
