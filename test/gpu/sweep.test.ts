// The sweep of tiles on sm_90a: it runs every one, and what it finds decides from then on. Times are injected.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { fastestTiles, type SweptPass, sweepLines, sweepPass, sweptPasses, tuningText } from '../../bench/gpu/sweep.ts';
import type { Device } from '../../src/device/device.ts';
import { choiceOf, hopperBuilds } from '../../src/kernels/conv/hopper.ts';
import { cutOf } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-sweep-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const square = [1, 4, 4, 64, 4, 4, 64, 3, 3, 1, 1, 1, 1];
const layer = [100, 1, 1, 64, 1, 1, 128, 1, 1, 1, 1, 0, 0];
const passes: SweptPass[] = [
  { name: 'an output', pass: 'forward', tables: [square] },
  { name: 'an input gradient', pass: 'input', tables: [square] },
  { name: 'two weight gradients', pass: 'weight', tables: [layer, square] },
];

/** Milliseconds of each tile, in turns: another one is the fastest in each pass. */
const milliseconds = [
  [5, 4, 3, 0.001, 2],
  [5, 4, 3, 2, 0.001],
  [5, 4, 0.001, 3, 2],
];

describe.runIf(deviceNames.includes('cuda-emulated'))('on cuda-emulated', () => {
  it('every tile is run, and the fastest is taken from then on', async () => {
    const device = await openTestDevice('cuda-emulated', { precision: 'bf16' });
    // Tables are kept for the device's life.
    for (const table of [square, layer]) device.table(table);
    const { live } = device.memory();
    const times = new Map(
      passes.map((pass, p) => {
        let next = 0;
        const time = (_: Device, work: () => void) => {
          work();
          return milliseconds[p][next++];
        };
        return [pass.name, sweepPass(device, pass, time).values ?? {}];
      }),
    );
    await device.synchronize();
    expect(device.memory().live).toBe(live);
    for (const found of times.values()) expect(Object.keys(found)).toEqual(hopperBuilds.map(({ name }) => name));

    const file = join(folder, 'found.ts');
    writeFileSync(file, tuningText(fastestTiles(passes, times)));
    const { measuredTiles } = await import(pathToFileURL(file).href);
    const tileOf = (pass: 'forward' | 'input', known?: typeof measuredTiles) => choiceOf(square, pass, known).tile.name;
    expect([tileOf('forward', measuredTiles), tileOf('input', measuredTiles)]).toEqual(['256x128', '128x256']);
    expect(cutOf([layer, square], measuredTiles).tile.name).toBe('128x128.turns');
    // Nothing of other shapes, and nothing without what was found.
    expect([tileOf('forward'), tileOf('input')]).toEqual(['128x64', '128x64']);
    expect(cutOf([square, layer], measuredTiles)).toEqual(cutOf([square, layer]));

    const lines = sweepLines(passes, times, { '4x4 64->64 k3 forward teraflops': 12 });
    expect(lines[2]).toBe('| an output | 256x128 | 1.0 | 1 | 12 |');
    expect(lines[4]).toMatch(/^\| two weight gradients \| 128x128\.turns \| 1\.0 \| \d+ \| {2}\|$/);
  }, 120_000);
});

it('has every pass of the official network once, under a name of its own', () => {
  const all = sweptPasses();
  const names = all.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toContain('3 x 3 at 32 x 32, 128 → 128');
  expect(names).toContain('3 x 3 at 32 x 32, 128 → 128, input gradient');
  const tablesOf = (wanted: string) =>
    all.filter(({ pass }) => pass === wanted).flatMap(({ tables }) => tables.map((table) => table.join(' ')));
  const gradients = new Set(tablesOf('weight'));
  expect(tablesOf('forward').length).toBeGreaterThan(20);
  expect(tablesOf('forward').filter((table) => !gradients.has(table))).toEqual([]);
});
