// The predicted times of the training step: each is the largest of the bounds, no kernel is left out, and the kernels of an earlier
// revision come out as slow as its review found them.
import { describe, expect, it, test } from 'vitest';
import { boundsOf, cards, hopperModel, residentBlocks, timeOf } from '../../bench/gpu/card_model.ts';
import { streamTrips } from '../../bench/gpu/machine_code.ts';
import { planStep } from '../../bench/gpu/step_plan.ts';
import { earlierStep, kernelSeconds, stepLaunches, stepSeconds, tableRows } from '../../bench/gpu/table.ts';

const [h200, h100] = cards;

describe('the step of d1dfdc6', () => {
  const { launches } = earlierStep();

  it('takes at least 33 ms on either card', () => {
    for (const card of cards) expect(1e3 * stepSeconds(launches, card), card.name).toBeGreaterThan(33);
  });

  it('spends 13.6 ms in norms if every cycle issues four instructions, and more at the rate of real kernels', () => {
    const { multiprocessors, issue, clock } = hopperModel;
    const norms = launches.filter(({ kernel }) => kernel.startsWith('group_norm'));
    const instructions = norms.reduce((sum, one) => sum + one.count * one.instructions, 0);
    expect((1e3 * instructions) / (multiprocessors * issue * clock)).toBeCloseTo(13.6, 1);
    expect(1e3 * kernelSeconds(launches, h200, 'group_norm')).toBeGreaterThan(13.6);
  });
});

describe('the step of today', () => {
  const launches = stepLaunches();

  it('has a launch for each kernel of the plan, with its instructions, its bytes and its occupancy', () => {
    expect(launches).toHaveLength(planStep(128, 'bf16', { hopper: true }).kernelCount);
    for (const { kernel, work, parts } of launches) {
      expect(work.instructions, kernel).toBeGreaterThan(0);
      expect(work.bytes, kernel).toBeGreaterThan(0);
      expect(work.resident, kernel).toBeGreaterThanOrEqual(1);
      expect(parts.length, kernel).toBeGreaterThan(0);
    }
  });

  it('spends at most 3 ms in norms on an H200', () => {
    const norms = launches.filter(({ kernel }) => kernel.startsWith('group_norm'));
    expect(norms).toHaveLength(190);
    expect(1e3 * norms.reduce((sum, { work }) => sum + timeOf(work, h200).seconds, 0)).toBeLessThan(3);
  });

  it('takes no time below a bound, and at least as long on an H100', () => {
    for (const { kernel, work } of launches) {
      const { seconds, bound } = timeOf(work, h200);
      const bounds = boundsOf(work, h200);
      expect(seconds, kernel).toBe(bounds[bound]);
      for (const value of Object.values(bounds)) expect(seconds, kernel).toBeGreaterThanOrEqual(value);
      expect(timeOf(work, h100).seconds, kernel).toBeGreaterThanOrEqual(seconds);
    }
    for (const row of tableRows()) {
      expect(row.predicted * hopperModel.convolutions, row.name).toBeGreaterThanOrEqual(0.999 * row.flops);
      expect(row.predicted * h200.memory * hopperModel.streamed, row.name).toBeGreaterThanOrEqual(0.999 * row.bytes);
    }
  });
});

test('a launch with few blocks is not taken to use the whole card', () => {
  const one = { blocks: 1, threads: 256, resident: 8, instructions: 1000, waiting: 0, bytes: 0 };
  const many = { ...one, blocks: 132, instructions: 132_000 };
  expect(timeOf(one, h200)).toEqual(timeOf(many, h200));
  expect(timeOf({ ...many, blocks: 133, instructions: 133_000 }, h200).seconds).toBe(2 * timeOf(many, h200).seconds);
});

test('waits of blocks that do not fit at once are added up', () => {
  const work = { blocks: 132 * 8, threads: 256, resident: 8, instructions: 0, waiting: 1755, bytes: 0 };
  expect(timeOf(work, h200)).toEqual({ seconds: 1e-6, bound: 'latency' });
  expect(timeOf({ ...work, resident: 4 }, h200).seconds).toBeCloseTo(2e-6, 12);
});

test('counts the blocks that fit by threads, registers and shared memory', () => {
  expect(residentBlocks(256, 32, 0)).toBe(8);
  expect(residentBlocks(256, 64, 0)).toBe(4);
  expect(residentBlocks(384, 168, 197_632)).toBe(1);
  expect(residentBlocks(128, 40, 64 * 1024)).toBe(3);
});

test('refuses kernels whose loops changed', () => {
  const facts = { instructions: 10, loads: {}, stores: {}, waits: {}, divisions: 0, products: 0 };
  const kernel = { ...facts, local: 0, registers: 8, limits: [], loops: [{ ...facts, parent: -1 }] };
  expect(() => streamTrips('loss_squares', kernel, 1)).toThrow(/loss_squares has 1 loops instead of 0/);
});
