// The column of conditions in a store of pairs: written and read in both layouts, interrupted, damaged, and next to stores that
// have none.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkPairs, PairSet, PairWriter, pairCondition, readManifest } from '../../src/data/index.ts';
import { readNpy, writeNpy } from '../../src/io/index.ts';
import { endOf, makePairs, planOf } from '../support/pairs.ts';

const table = ['', 'a cat', 'ein Löwe', '日本'];
const column = Int32Array.from({ length: 50 }, (_, i) => (7 * i + (i >> 2)) % 4);
const condition = pairCondition('text', table, column);

async function conditionFindings(root: string) {
  return (await checkPairs(root)).filter(({ what }) => what === 'conditions');
}

describe.each(['official', 'shards'] as const)('in the layout %s', (layout) => {
  it('each pair keeps its text, by index and in the order of the file', async () => {
    const root = await makePairs({ layout, condition }, { column });
    const { dtype, shape, data } = await readNpy(join(root, '7/condition.npy'));
    expect({ dtype, shape, data }).toEqual({ dtype: 'i32', shape: [50], data: column });
    expect((await readManifest(join(root, '7')))?.condition).toEqual(condition);
    const pairs = await PairSet.open(root);
    expect(pairs.condition).toEqual({ kind: 'text', table });
    const wanted = [49, 0, 17, 17, 8];
    const batch = await pairs.load(Int32Array.from(wanted));
    expect(Array.from(batch.column as Int32Array)).toEqual(wanted.map((i) => column[i]));
    // The texts change nothing else.
    const plain = await PairSet.open(await makePairs({ layout }));
    const same = await plain.load(Int32Array.from(wanted));
    expect(same.column).toBeUndefined();
    expect(plain.condition).toBeUndefined();
    expect([batch.z0, batch.z1]).toEqual([same.z0, same.z1]);
    for (const set of [pairs, plain]) await set.close();
    expect(await conditionFindings(root)).toEqual([
      { what: 'conditions', state: 'ok', detail: '4 texts ("", "a cat", "ein Löwe", ...), each of 12 to 13 pairs' },
    ]);
  });

  it('an interrupted store is completed to the same column', async () => {
    const root = await makePairs({ layout, condition }, { column, stopAfter: 3 });
    expect(() => readFileSync(join(root, '7/condition.npy'))).toThrow(/ENOENT/);
    const plan = planOf({ layout, condition });
    const writer = await PairWriter.open(join(root, '7'), plan, () => {}, column);
    expect(writer.done).toBe(3);
    for (let first = 24; first < 50; first += 8)
      await writer.write(
        Float32Array.from(
          Array.from({ length: Math.min(8, 50 - first) }, (_, i) => Array.from(endOf(first + i, plan.shape))).flat(),
        ),
        2,
      );
    await writer.finish();
    await writer.close();
    const whole = await makePairs({ layout, condition }, { column });
    for (const file of ['condition.npy', 'manifest.json'])
      expect(readFileSync(join(root, '7', file)), file).toEqual(readFileSync(join(whole, '7', file)));
  });

  it('a column that is missing, short, changed or of another type is refused by name', async () => {
    const root = await makePairs({ layout, condition }, { column });
    const path = join(root, '7/condition.npy');
    const bytes = readFileSync(path);
    const refusal = () =>
      PairSet.open(root).then(
        () => 'none',
        (error: Error) => error.message,
      );
    rmSync(path);
    expect(await refusal()).toMatch(/condition\.npy: no such file/);
    writeFileSync(path, bytes.subarray(0, bytes.length - 4));
    expect(await refusal()).toBe(`${path}: has 324 bytes, expected 328; it is truncated or damaged`);
    await writeNpy(path, { shape: [50], dtype: 'f32', data: new Float32Array(50) });
    expect(await refusal()).toBe(`${path}: holds f32 [50], expected i32 [50]`);
    await writeNpy(path, { shape: [50], dtype: 'i32', data: column.map((place) => 3 - place) });
    expect(await refusal()).toMatch(/does not have the checksum in its manifest\.json/);
    expect((await checkPairs(root).catch((error: Error) => error)) as object).toMatchObject([{ state: 'broken' }]);
  });
});

it('a table without a place for an entry is refused, and one with unused entries is noted', async () => {
  const path = join(await makePairs({ condition }, { column }), '7/manifest.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8'));
  const open = async (changes: object) => {
    writeFileSync(path, JSON.stringify({ ...manifest, ...changes }));
    return PairSet.open(join(path, '../..')).then(
      (set) => set.close(),
      (error: Error) => error.message,
    );
  };
  expect(await open({})).toBeUndefined();
  expect(await open({ condition: { ...condition, table: table.slice(0, 3) } })).toMatch(
    /condition\.npy: has 3 at pair \d+, but its table has 3 entries/,
  );
  for (const wrong of [7, 'text', { kind: 'text' }, { ...condition, kind: 'sound' }, { ...condition, table: [] }])
    expect(await open({ condition: wrong })).toMatch(/manifest\.json: is damaged: "condition" is invalid/);
  // A reader of version 1 would not see the texts, so the version must say that there are some.
  expect(await open({ version: 1 })).toMatch(/manifest\.json: has version 1, but a condition/);
  expect(await open({ version: 2, condition: undefined })).toMatch(/manifest\.json: has version 2, but no condition/);
  expect(await open({ version: 3 })).toMatch(/manifest\.json: has version 3, but its pairs start from noise/);
  expect(await open({ version: 4 })).toMatch(/manifest\.json: has version 4; this package reads 1, 2 and 3/);
  const rare = Int32Array.from(column, (place) => Math.min(place, 1));
  const root = await makePairs({ condition: pairCondition('label', table, rare) }, { column: rare });
  const [{ state, detail }] = await conditionFindings(root);
  expect(state).toBe('note');
  expect(detail).toMatch(/^4 labels .* each of 0 to \d+ pairs; no pair has "ein Löwe", "日本"$/);
});

it('folders with other tables, or without one, are not one set', async () => {
  for (const other of [
    undefined,
    pairCondition('text', [...table, 'a dog'], column),
    { ...condition, kind: 'label' as const },
  ]) {
    const root = await makePairs({ condition }, { column });
    await makePairs({ condition: other }, { root, name: '8', column: other && column });
    await expect(PairSet.open(root)).rejects.toThrow(/8: has another condition than .*7: another table/);
    expect((await conditionFindings(root)).every(({ state }) => state === 'broken')).toBe(true);
  }
});

it('a writer takes no other column than that of its plan', async () => {
  const write = (plan: object, own?: Int32Array) => makePairs(plan, { column: own });
  await expect(write({ condition })).rejects.toThrow(/a plan with a condition and its column, or neither/);
  await expect(write({}, column)).rejects.toThrow(/a plan with a condition and its column, or neither/);
  await expect(
    write(
      { condition },
      column.map((place) => 3 - place),
    ),
  ).rejects.toThrow(/the column of 50 pairs/);
  await expect(write({ condition }, column.subarray(1))).rejects.toThrow(/the column of 50 pairs/);
  expect(() => pairCondition('text', table, Int32Array.of(0, 4))).toThrow(/places in a table of 4, got 4/);
  expect(() => pairCondition('text', [], Int32Array.of())).toThrow(/texts of at most/);
});
