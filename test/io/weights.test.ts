// Weights in one file, in shards with an index, and in a file of torch.save; indexes that do not fit.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type ArrayFile, writeSafetensors } from '../../src/io/index.ts';
import { openWeights } from '../../src/io/weights.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rectiflow-weights-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const vector = (...values: number[]): ArrayFile => ({
  shape: [values.length],
  dtype: 'f32',
  data: Float32Array.from(values),
});
const shard = (number: number) => `net-0000${number}-of-00002.safetensors`;

async function writeShards(map: unknown = { a: shard(1), b: shard(2), c: shard(2) }): Promise<string> {
  await writeSafetensors(join(folder, shard(1)), { a: vector(1, 2) });
  await writeSafetensors(join(folder, shard(2)), { b: vector(3), c: vector(4) });
  const path = join(folder, 'net.safetensors.index.json');
  writeFileSync(path, JSON.stringify({ metadata: { total_size: 16 }, weight_map: map }));
  return path;
}

test('shards are read one after the other, all or some of their tensors', async () => {
  const weights = await openWeights(await writeShards());
  expect(Array.from(weights.tensors, ([name, { dtype, shape }]) => [name, dtype, ...shape])).toEqual([
    ['a', 'f32', 2],
    ['b', 'f32', 1],
    ['c', 'f32', 1],
  ]);
  const read: [string, number[]][] = [];
  await weights.forEach((name, { data }) => void read.push([name, [...(data as Float32Array)]]), new Set(['a', 'c']));
  expect(read).toEqual([
    ['a', [1, 2]],
    ['c', [4]],
  ]);
});

test('the names of variants', async () => {
  const path = await writeShards();
  const other = join(folder, 'net.safetensors.index.fp16.json');
  rmSync(path);
  writeFileSync(other, JSON.stringify({ weight_map: { a: shard(1), b: shard(2), c: shard(2) } }));
  expect((await openWeights(other)).tensors.size).toBe(3);
});

test('a file of torch.save, whose tensors may be in "state_dict"', async () => {
  const path = fileURLToPath(new URL('../fixtures/checkpoints/lightning.pth', import.meta.url));
  const weights = await openWeights(path);
  expect(weights.tensors.size).toBeGreaterThan(0);
  let count = 0;
  await weights.forEach((name, { shape }) => {
    expect(weights.tensors.get(name)?.shape).toEqual(shape);
    count++;
  });
  expect(count).toBe(weights.tensors.size);
});

describe('an index that does not fit', () => {
  test.each([
    [{ a: shard(1), b: shard(2) }, 'does not name the tensor "c"'],
    [{ a: shard(1), b: shard(2), c: shard(2), d: shard(2) }, 'holds the tensor "d", which it does not'],
    [{ a: shard(2), b: shard(2), c: shard(2) }, `does not name the shard ${shard(1)}`],
    [{ a: '../secret.safetensors' }, 'not a name like NAME.safetensors'],
    [{ a: '/etc/x.safetensors' }, 'not a name like NAME.safetensors'],
    [{ a: 'net.bin' }, 'not a name like NAME.safetensors'],
    [{ a: 'missing.safetensors' }, 'missing.safetensors: no such file'],
    [{}, 'names no tensors'],
    [[], 'has no weight_map'],
    ['x', 'has no weight_map'],
  ])('%j: %s', async (map, message) => {
    await expect(writeShards(map).then(openWeights)).rejects.toThrow(message);
  });

  test('a truncated shard', async () => {
    const path = await writeShards();
    truncateSync(join(folder, shard(2)), 90);
    await expect(openWeights(path)).rejects.toThrow('truncated');
  });

  test('a file without a dictionary of tensors', async () => {
    const path = fileURLToPath(new URL('../fixtures/io/torch_tensor.pth', import.meta.url));
    await expect(openWeights(path)).rejects.toThrow('holds no dictionary of tensors');
  });
});
