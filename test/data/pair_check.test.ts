// The findings of the pair check for sound folders and for every kind of fault, and the refusals of training.
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { checkPairs, type PairCheckOptions, PairSet, readManifest, writePairFile } from '../../src/data/index.ts';
import { refuseBroken } from '../../src/data/pairs/check.ts';
import { NoiseStatistics, normalDistribution, reasonsAgainstNoise } from '../../src/data/pairs/pair_statistics.ts';
import { readNpy, writeNpy } from '../../src/io/index.ts';
import { fillNormals } from '../../src/tensor/philox.ts';
import { endOf, makePairs } from '../support/pairs.ts';

const official = { layout: 'official' as const };
const u16 = { dtype: 'u16' as const, range: [-2, 2] as [number, number] };

/** Every finding that is not 'ok', as "state what: detail". */
async function faults(root: string, options?: PairCheckOptions): Promise<string[]> {
  const findings = await checkPairs(root, options);
  return findings.flatMap(({ what, state, detail }) => (state === 'ok' ? [] : [`${state} ${what}: ${detail}`]));
}

async function refusal(root: string, scale = 1): Promise<string> {
  const pairs = await PairSet.open(root).catch((error: Error) => error);
  if (pairs instanceof Error) return pairs.message;
  const refused = await refuseBroken(pairs, root, scale).catch((error: Error) => error);
  await pairs.close();
  return refused ? refused.message : '';
}

/** Changes the numbers of one official file. */
async function change(path: string, edit: (data: Float32Array) => void) {
  const { shape, data } = await readNpy(path);
  edit(data as Float32Array);
  await writeNpy(path, { shape, dtype: 'f32', data });
}

describe('finds no fault', () => {
  it.each([
    ['shards', {}],
    ['shards of 16 bits', u16],
    ['shards of f16', { dtype: 'f16' as const }],
    ['official files', official],
    ['noise of another scale', { noise: { law: 'normal', seed: 2 ** 40 + 3, stream: 2, scale: 2.5 } as const }],
    ['one batch that is not full', { count: 5 }],
  ])('in %s', async (_, plan) => {
    const root = await makePairs(plan);
    expect(await faults(root)).toEqual([]);
    expect(await refusal(root)).toBe('');
  });

  it('in official files without a manifest, with fewer checks', async () => {
    const root = await makePairs({ ...official, noise: { law: 'normal', seed: 7, stream: 2, scale: 0.5 } });
    rmSync(join(root, '7/manifest.json'));
    expect(await faults(root, { noiseScale: 0.5 })).toEqual(['note checksums: no checksums are stored']);
    expect(await refusal(root, 0.5)).toBe('');
    expect(await refusal(root, 1)).toMatch(
      /z0 is not noise of deviation 1 \(sampling\.init_noise_scale\).*variance 0\.2\d/,
    );
  });

  it('and reports their origin', async () => {
    const [folder] = await checkPairs(await makePairs(u16));
    expect(folder).toEqual({
      what: 'folder 7',
      state: 'ok',
      detail:
        '50 pairs of [3, 4, 4], shards u16 in batches of 8, euler steps 2, NFE 2.0 (2 to 2), teacher abababababab, rectiflow 0.0.0',
    });
  });
});

describe('finds', () => {
  it('swapped ends, which training refuses', async () => {
    const root = await makePairs(official);
    const [a, b] = [join(root, '7/z0.npy'), join(root, '7/z1.npy')];
    renameSync(a, `${a}.x`);
    renameSync(b, a);
    renameSync(`${a}.x`, b);
    rmSync(join(root, '7/manifest.json'));
    const found = await faults(root);
    expect(found).toContain('broken order: z0 and z1 are swapped: z1 is the noise');
    expect(found.join()).toMatch(/broken z0 is noise: no: variance/);
    expect(await refusal(root)).toMatch(/z0 and z1 are swapped: z1 is the noise, .*; see rectiflow pairs /);
  });

  it('z1 that is noise, from an untrained flow', async () => {
    const end = (index: number) => {
      const values = new Float32Array(48);
      fillNormals(values, 99, index, 0);
      return values;
    };
    expect(await faults(await makePairs({}, { end }))).toEqual([
      'note order: z1 is noise too: has the flow been trained?',
    ]);
  });

  it('an incomplete folder, which training refuses', async () => {
    const root = await makePairs({}, { stopAfter: 3 });
    const incomplete = /7: has 24 of 50 pairs; repeat the command that generates them, or move the folder away/;
    expect((await faults(root))[0]).toMatch(incomplete);
    expect(await refusal(root)).toMatch(incomplete);
    // The other folders are still checked.
    await makePairs(
      { noise: { law: 'normal', seed: 8, stream: 2, scale: 1 } },
      { root, name: '8', end: (i, s) => endOf(i + 100, s) },
    );
    expect(await faults(root)).toHaveLength(1);
    expect((await checkPairs(root)).length).toBeGreaterThan(5);
  });

  it('changed, short and missing shards', async () => {
    const changed = await makePairs();
    const shard = join(changed, '7/z1_000002.npy');
    const bytes = readFileSync(shard);
    bytes[bytes.length - 3] ^= 1;
    writeFileSync(shard, bytes);
    expect(await faults(changed)).toEqual(['broken checksums: mismatches: 7 pairs 16 to 23']);
    expect(await faults(changed, { limit: 16 })).toEqual([]);
    truncateSync(shard, 200);
    expect((await faults(changed))[0]).toMatch(
      /z1_000002\.npy: has 200 bytes, expected \d+; it is truncated or damaged/,
    );
    expect(await refusal(changed)).toMatch(/z1_000002\.npy: has 200 bytes/);
    rmSync(shard);
    expect(await refusal(changed)).toMatch(/z1_000002\.npy: no such file/);
  });

  it('non-finite values, which training refuses', async () => {
    const root = await makePairs(official);
    await change(join(root, '7/z1.npy'), (data) => (data[5 * 48 + 3] = Number.NaN));
    const found = await faults(root);
    expect(found).toContain('broken finite: not finite: z1 of 7 pair 5');
    expect(found).toContain('broken checksums: mismatches: 7 pairs 0 to 7');
    expect(await refusal(root)).toMatch(/z1 of pair 5 holds NaN; see rectiflow pairs/);
    await change(join(root, '7/z0.npy'), (data) => (data[48] = Number.POSITIVE_INFINITY));
    expect(await refusal(root)).toMatch(/z0 of pair 1 holds Infinity/);
  });

  it('duplicate pairs', async () => {
    const root = await makePairs();
    cpSync(join(root, '7'), join(root, '8'), { recursive: true });
    expect(await faults(root)).toEqual(
      [
        'broken z0 unique: 50 duplicates: 7 pair 0 = 8 pair 0; 7 pair 1 = 8 pair 1; 7 pair 10 = 8 pair 10; ... 50 in total',
        'broken z1 unique: 50 duplicates: 7 pair 0 = 8 pair 0; 7 pair 1 = 8 pair 1; 7 pair 10 = 8 pair 10; ... 50 in total',
      ].map((line) => expect.stringMatching(new RegExp(`^${line.slice(0, 38)}.*\\.\\.\\. 50 in total$`))),
    );
    const once = await makePairs({}, { end: (index, shape) => endOf(index === 31 ? 30 : index, shape) });
    expect(await faults(once)).toEqual(['broken z1 unique: 1 duplicates: 7 pair 30 = 7 pair 31']);
  });

  it('z0 of a seed other than the one in the manifest', async () => {
    const root = await makePairs(official);
    const other = await makePairs({ ...official, noise: { law: 'normal', seed: 8, stream: 2, scale: 1 } });
    copyFileSync(join(other, '7/z0.npy'), join(root, '7/z0.npy'));
    expect((await faults(root)).join()).toMatch(/^broken z0 of 7: is not the noise of seed 7: pair 0; .* 16 in total$/);
  });

  it('values outside the range of 16 bits', async () => {
    const end = (index: number, shape: Parameters<typeof endOf>[1]) => endOf(index, shape).map((value) => 6 * value);
    expect((await faults(await makePairs(u16, { end }))).join()).toMatch(
      /^broken 16 bits: \d+ % of z1 of 7 are outside \[-2, 2\]$/,
    );
  });

  it('an unplanned number of pairs, several teachers, a different shape', async () => {
    const root = await makePairs();
    const noise = { law: 'normal', seed: 8, stream: 2, scale: 1 } as const;
    const end: typeof endOf = (index, shape) => endOf(index + 1000, shape);
    await makePairs({ noise, teacher: 'cd'.repeat(32) }, { root, name: '8', end });
    await makePairs({ shape: [1, 4, 4] }, { root, name: '9' });
    expect(await faults(root, { planned: 60 })).toEqual([
      'broken folder 9: holds [1, 4, 4], expected [3, 4, 4]',
      'note count: 100 pairs; 7 has 50 of 60 planned; 8 has 50 of 60 planned',
      'note teachers: the folders come from 2 different teachers',
    ]);
    expect(await refusal(root)).toMatch(/9: holds \[50, 1, 4, 4\], expected \[pairs, 3, 4, 4\]/);
  });

  it('fewer pairs than recommended for CIFAR-10', async () => {
    const root = await makePairs({ shape: [3, 32, 32], count: 9 });
    expect(await faults(root)).toEqual(['note count: 9 pairs; 1,000,000 are recommended for CIFAR-10']);
  });

  it('ends that drift from the data', async () => {
    const root = await makePairs();
    const { detail } = (await checkPairs(root)).find(({ what }) => what === 'z1 channels') as { detail: string };
    const [mean, deviation] = [/mean (.*), deviation/, /deviation (.*)$/].map((pattern) =>
      (pattern.exec(detail) as RegExpExecArray)[1].split(' ').map(Number),
    );
    const states = async (shift: number, factor: number) =>
      (
        await faults(root, { data: { mean: mean.map((m) => m + shift), deviation: deviation.map((d) => d * factor) } })
      ).map((line) => line.split(' z1')[0]);
    expect(await states(0, 1)).toEqual([]);
    expect(await states(0.06, 1)).toEqual(['note']);
    expect(await states(0, 1.3)).toEqual(['note']);
    expect(await states(0.5, 1)).toEqual(['broken']);
    expect(await states(0, 3)).toEqual(['broken']);
  });

  it('no pairs at all, which is an error', async () => {
    const root = mkdtempSync(join(tmpdir(), 'rectiflow-pairs-'));
    mkdirSync(join(root, 'notes'));
    await expect(checkPairs(root)).rejects.toThrow(/holds no pairs/);
    await expect(checkPairs(join(root, 'gone'))).rejects.toThrow(/no such folder/);
  });
});

describe('a manifest', () => {
  it.each<[string, (text: string) => string, RegExp]>([
    ['invalid JSON', (text) => text.slice(0, -3), /manifest\.json: is not JSON/],
    ['a key twice', (text) => text.replace('"count"', '"seed": 1, "seed": 2, "count"'), /the key "seed" occurs twice/],
    ['of another program', (text) => text.replace('rectiflow pairs', 'x'), /is not a manifest of pairs/],
    [
      'of a later version',
      (text) => text.replace('"version": 1', '"version": 4'),
      /has version 4; this package reads 1, 2 and 3/,
    ],
    [
      'a hostile count',
      (text) => text.replaceAll(/"(count|done)": 50/g, '"$1": 9007199254740991'),
      /"batch" is invalid/,
    ],
    [
      'a count that does not match its batches',
      (text) => text.replaceAll(/"(count|done)": 50/g, '"$1": 90'),
      /"done" is invalid/,
    ],
    ['no batch', (text) => text.replace('"batch": 8', '"batch": 0'), /"batch" is invalid/],
    ['no checksum', (text) => text.replace(/"sha256":"../, '"sha256":"'), /"shards" is invalid/],
    ['16 bits without a range', (text) => text.replace('"f32"', '"u16"'), /"range" is invalid/],
    ['an unknown layout', (text) => text.replace('"shards",', '"../..",'), /"layout" is invalid/],
    ['noise of deviation 0', (text) => text.replace('"scale": 1', '"scale": 0'), /"noise" is invalid/],
  ])('%s is refused', async (_, edit, message) => {
    const root = await makePairs();
    const path = join(root, '7/manifest.json');
    writeFileSync(path, edit(readFileSync(path, 'utf8')));
    await expect(readManifest(join(root, '7'))).rejects.toThrow(message);
    await expect(PairSet.open(root)).rejects.toThrow(message);
    expect((await faults(root))[0]).toMatch(message);
  });

  it('with a shape other than that of the files is refused', async () => {
    const root = await makePairs(official);
    await writePairFile(join(root, '7/z1.npy'), 49, [3, 4, 4], [new Float32Array(49 * 48)]);
    await writePairFile(join(root, '7/z0.npy'), 49, [3, 4, 4], [new Float32Array(49 * 48)]);
    await expect(PairSet.open(root)).rejects.toThrow(
      /z1\.npy: holds \[49, 3, 4, 4\], but its manifest\.json says \[50, 3, 4, 4\]/,
    );
  });
});

describe('noise', () => {
  const gathered = (values: Float32Array, scale = 1) => {
    const statistics = new NoiseStatistics();
    statistics.add(values, scale);
    return reasonsAgainstNoise(statistics.facts()).map((reason) => reason.split(' ')[0]);
  };
  const normals = (seed: number, n = 40_000) => {
    const values = new Float32Array(n);
    fillNormals(values, seed, 0, 0);
    return values;
  };

  it('passes for every seed', () => {
    for (let seed = 0; seed < 200; seed++) expect(gathered(normals(seed, 4000)), `seed ${seed}`).toEqual([]);
  });

  it.each<[string, (x: Float32Array) => Float32Array, string[]]>([
    ['shifted', (x) => x.map((v) => v + 0.05), ['mean', 'distance']],
    ['wider', (x) => x.map((v) => 1.05 * v), ['variance']],
    [
      'uniform of variance 1',
      (x) => x.map((v) => 2 * Math.sqrt(3) * (normalDistribution(v) - 0.5)),
      ['kurtosis', 'distance'],
    ],
    ['signs', (x) => x.map(Math.sign), ['kurtosis', 'distance']],
    ['clipped at 2', (x) => x.map((v) => Math.min(Math.max(v, -2), 2)), ['variance', 'kurtosis', 'distance']],
    ['zero', (x) => x.fill(0), ['variance', 'kurtosis', 'distance']],
  ])('does not pass %s', (_, edit, reasons) => {
    expect(gathered(edit(normals(1)))).toEqual(reasons);
  });

  it('has the distribution function of a normal', () => {
    // Values from published tables.
    for (const [x, p] of [
      [0, 0.5],
      [1, 0.8413447461],
      [-1, 0.1586552539],
      [2.5, 0.9937903347],
      [-3, 0.001349898],
    ])
      expect(normalDistribution(x)).toBeCloseTo(p, 6);
  });
});
