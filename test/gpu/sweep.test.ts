// The sweep of tiles on sm_90a: it runs every tile, and its results decide from then on. Times are injected.
import { describe, expect, it } from 'vitest';
import { fastestTiles, type SweptPass, sweepLines, sweepPass, sweptPasses, tuningText } from '../../bench/gpu/sweep.ts';
import type { Device } from '../../src/device/device.ts';
import { choiceOf, hopperBuilds } from '../../src/kernels/conv/hopper.ts';
import { cutOf } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { convShapeOf, linearShape, toTable } from '../../src/kernels/conv/shape.ts';
import { type MeasuredTiles, measuredTiles, requireMeasuredTiles } from '../../src/kernels/tuning/sm_90a.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const square = convShapeOf([1, 4, 4, 64], [64, 3, 3, 64], { paddings: [1, 1] });
const layer = linearShape(100, 64, 128);
const passes: SweptPass[] = [
  { name: 'an output', pass: 'forward', shapes: [square] },
  { name: 'an input gradient', pass: 'input', shapes: [square] },
  { name: 'two weight gradients', pass: 'weight', shapes: [layer, square] },
];

/** Milliseconds of each tile in turn: a different one is the fastest in each pass. */
const milliseconds = [
  [5, 4, 3, 0.001, 2],
  [5, 4, 3, 2, 0.001],
  [5, 4, 0.001, 3, 2],
];

describe.runIf(deviceNames.includes('cuda-emulated'))('on cuda-emulated', () => {
  it('runs every tile, and uses the fastest from then on', async () => {
    const device = await openTestDevice('cuda-emulated', { precision: 'bf16' });
    // Tables are kept for the lifetime of the device.
    for (const shape of [square, layer]) device.table(toTable(shape));
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
    for (const one of times.values()) expect(Object.keys(one)).toEqual(hopperBuilds.map(({ name }) => name));

    const found = requireMeasuredTiles('found.json', JSON.parse(tuningText(fastestTiles(passes, times))));
    const tileOf = (pass: 'forward' | 'input', known?: MeasuredTiles) => choiceOf(square, pass, known).tile.name;
    expect([tileOf('forward', found), tileOf('input', found)]).toEqual(['256x128', '128x256']);
    expect(cutOf([layer, square], found).tile.name).toBe('128x128.turns');
    // Other shapes have no entry, and without the results there is none at all.
    expect([tileOf('forward'), tileOf('input')]).toEqual(['128x64', '128x64']);
    expect(cutOf([square, layer], found)).toEqual(cutOf([square, layer]));

    const lines = sweepLines(passes, times, { '4x4 64->64 k3 forward teraflops': 12 });
    expect(lines[2]).toBe('| an output | 256x128 | 1.0 | 1 | 12 |');
    expect(lines[4]).toMatch(/^\| two weight gradients \| 128x128\.turns \| 1\.0 \| \d+ \| {2}\|$/);
  }, 120_000);
});

it('validates the file of measured tiles when it is read', () => {
  expect(measuredTiles()).toMatchObject({ forward: {}, input: {}, weight: {} });
  const refused: [unknown, RegExp][] = [
    [null, /x\.json: is not a file of `npm run gpu:sweep`: forward does not hold a string for each shape/],
    [{ forward: {}, input: { '1 1': 5 }, weight: {} }, /input does not hold a string for each shape/],
    [{ forward: {}, input: {}, weight: { '1 1': { tile: 'a', run: 0 } } }, /weight does not hold a tile and a run/],
    [{ forward: {}, input: {}, weight: { '1 1': null } }, /weight does not hold a tile and a run/],
  ];
  for (const [value, message] of refused) expect(() => requireMeasuredTiles('x.json', value)).toThrow(message);
});

it('has every pass of the official network once, under a unique name', () => {
  const all = sweptPasses();
  const names = all.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names).toContain('3 x 3 at 32 x 32, 128 → 128');
  expect(names).toContain('3 x 3 at 32 x 32, 128 → 128, input gradient');
  const tablesOf = (wanted: string) =>
    all.filter(({ pass }) => pass === wanted).flatMap(({ shapes }) => shapes.map((shape) => toTable(shape).join(' ')));
  const gradients = new Set(tablesOf('weight'));
  expect(tablesOf('forward').length).toBeGreaterThan(20);
  expect(tablesOf('forward').filter((table) => !gradients.has(table))).toEqual([]);
});
