// Tables of rates: measured, written, read again, and refused if damaged.
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDevice } from '../../../src/device/open.ts';
import { instructionSets, packagedTuning } from '../../../src/kernels/tuning/index.ts';
import { loadConfig, readCheckpointHeader, saveCheckpoint } from '../../../src/run/index.ts';
import { readTuning, tuningIdentity, writeTuning } from '../../../src/run/machine/tuning.ts';
import { trainingState } from '../../../src/run/training/session.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-tuning-'));
const origin = { cpu: 'a processor', device: 'cpu, 2 threads', created: '2026-01-01' };

test.each(instructionSets)('the table %s is complete, and a written table is read back', async (name) => {
  const tuning = packagedTuning(name);
  const path = join(folder, `${name}.json`);
  await writeTuning(path, tuning, origin);
  const { tiles, channels, rates } = tuning;
  expect(await readTuning(path)).toEqual({ tiles, channels, rates });
  expect(JSON.parse(readFileSync(path, 'utf8')).origin).toEqual(origin);
});

test('refuses a file that is damaged, of another shape or not a table, and says why', async () => {
  const path = join(folder, 'damaged.json');
  const { tiles, channels, rates } = packagedTuning('avx512');
  const withDirect = (change: (rates: number[][][]) => unknown) => {
    const direct = change(structuredClone(rates.forward.direct) as number[][][]);
    return JSON.stringify({ tiles, channels, rates: { ...rates, forward: { ...rates.forward, direct } } });
  };
  const refused: [string, RegExp][] = [
    ['{', /damaged\.json: is not JSON/],
    ['[]', /is not a table of `rectiflow tune`: tiles: expected ascending numbers/],
    [
      JSON.stringify({ tiles: [4, 2], channels, rates }),
      /tiles: expected ascending numbers > 0, 1 to 64 of them, got \[4, 2\]/,
    ],
    [JSON.stringify({ tiles: [], channels, rates }), /tiles: expected ascending numbers/],
    [JSON.stringify({ tiles, channels, rates: { ...rates, other: 1 } }), /rates: expected an object of forward, /],
    [
      JSON.stringify({ tiles, channels: channels.slice(1), rates }),
      /rates\.forward\.direct does not have shape \[5, 4, 4\]/,
    ],
    [
      JSON.stringify({ tiles, channels, rates: { ...rates, forward: {} } }),
      /rates\.forward: expected an object of direct, winograd2, winograd4/,
    ],
    [withDirect((rates) => rates.with(0, [[1]])), /rates\.forward\.direct does not have shape/],
    [
      withDirect((rates) => rates.map((rows) => rows.map((row) => row.with(1, -1)))),
      /direct holds -1, which is not a rate/,
    ],
    [
      withDirect((rates) => rates.map((rows) => rows.map((row) => row.map(String)))),
      /direct holds "\S+", which is not a rate/,
    ],
  ];
  for (const [text, message] of refused) {
    writeFileSync(path, text);
    await expect(readTuning(path)).rejects.toThrow(message);
  }
  await expect(readTuning(join(folder, 'nothing.json'))).rejects.toThrow(/nothing\.json/);
});

test.each([
  [false, /^(avx512|avx2|simd128) [0-9a-f]{12}$/],
  [true, /^exact$/],
])('a checkpoint stores what chose its algorithms; exact %s', async (exact, expected) => {
  const device = await openDevice('cpu', { threads: 1, exact });
  const path = join(folder, `exact_${exact}.safetensors`);
  const config = await loadConfig('digits', { model: { nf: 8 } });
  const { model, optimizer } = trainingState(config, device);
  await saveCheckpoint(path, { model, optimizer, config, step: 0 });
  optimizer.dispose();
  model.dispose();
  const { tuning } = await readCheckpointHeader(path);
  expect(tuning).toMatch(expected);
  expect(tuning).toBe(tuningIdentity(device));
});

test('a file of millions of invalid rates is refused without a zod issue for each', async () => {
  const path = join(folder, 'large.json');
  const { tiles, channels, rates } = packagedTuning('avx512');
  const rows = `[${Array(2000).fill('""').join()}]`;
  const direct = `[${Array(2000).fill(rows).join()}]`;
  const text = JSON.stringify({
    tiles,
    channels,
    rates: { ...rates, forward: { ...rates.forward, direct: 'DIRECT' } },
  });
  writeFileSync(path, text.replace('"DIRECT"', direct));
  const before = process.memoryUsage().heapUsed;
  await expect(readTuning(path)).rejects.toThrow(/rates\.forward\.direct does not have shape/);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(2 ** 28);
});
