// Estimates of time, with a clock of the test: medians and ranges of warm calls, batches of the real size.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  describeEstimate,
  describeRange,
  timeBatch,
  timeCalls,
  times,
  total,
} from '../../../src/run/machine/timing.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Work that takes these seconds, one after another, then the last again and again. */
function taking(...seconds: number[]) {
  let calls = 0;
  return {
    run: () => vi.advanceTimersByTime(1000 * seconds[Math.min(calls++, seconds.length - 1)]),
    calls: () => calls,
  };
}

describe('timeCalls', () => {
  it('gives the median of three long calls, which one slow call does not move, and their whole range', () => {
    const work = taking(1, 9, 1.1);
    expect(timeCalls(work.run)).toEqual({ seconds: 1.1, low: 0.8 * 1.1, high: 9 });
    expect(work.calls()).toBe(3);
  });

  it('repeats short calls for 0.4 seconds, and gives their mean and quartiles', () => {
    const short = taking(0.05);
    timeCalls(short.run);
    expect(short.calls()).toBe(8);
    // Every fourth call collects garbage: 30 calls take 0.01 s, ten 0.02 s.
    const shortest = taking(...Array.from({ length: 1000 }, (_, i) => (i % 4 === 3 ? 0.02 : 0.01)));
    const { seconds, low, high } = timeCalls(shortest.run);
    expect(shortest.calls()).toBe(32);
    expect(seconds).toBeCloseTo(0.0125);
    expect(low).toBeCloseTo(0.01);
    expect(high).toBeCloseTo(0.02);
  });

  it('has a range of at least 0.8 to 1.3 times the middle: the speed of a machine changes later', () => {
    expect(timeCalls(taking(2).run)).toEqual({ seconds: 2, low: 1.6, high: 2.6 });
  });
});

describe('timeBatch', () => {
  /** A machine with an overhead per batch, as of threads that wait for each other. */
  const machine = (overhead: number, perSample: number) => {
    const prepared: number[] = [];
    let open = 0;
    const prepare = (n: number) => {
      prepared.push(n);
      open++;
      return {
        run: () => vi.advanceTimersByTime(1000 * (overhead + n * perSample)),
        [Symbol.dispose]: () => open--,
      };
    };
    return { prepare, prepared, open: () => open };
  };

  it('times the batch itself, whose cost per sample differs from that of a small one', () => {
    const { prepare, prepared, open } = machine(0.1, 0.001);
    // Eight samples alone would say 128 / 8 * 0.108 = 1.7 s.
    expect(timeBatch(128, prepare).seconds).toBeCloseTo(0.228);
    expect(prepared).toEqual([8, 128]);
    expect(open()).toBe(0);
  });

  it('times a part of a batch that takes longer than a few seconds', () => {
    const { prepare, prepared } = machine(0, 0.1);
    expect(timeBatch(1000, prepare).seconds).toBeCloseTo(100);
    expect(prepared).toEqual([8, 40]);
  });

  it('times a small batch once', () => {
    const { prepare, prepared } = machine(0, 0.1);
    expect(timeBatch(4, prepare).seconds).toBeCloseTo(0.4);
    expect(prepared).toEqual([4]);
  });

  it('never times less than eight samples, or than the batch', () => {
    const { prepare, prepared } = machine(0, 10);
    expect(timeBatch(64, prepare).seconds).toBeCloseTo(640);
    expect(prepared).toEqual([8, 8]);
  });
});

it('estimates add up and scale with their ranges', () => {
  const each = { seconds: 2, low: 1, high: 4 };
  expect(total([each, times(each, 3)])).toEqual({ seconds: 8, low: 4, high: 16 });
  expect(total([])).toEqual({ seconds: 0, low: 0, high: 0 });
});

it('ranges name a common unit once', () => {
  expect(describeEstimate({ seconds: 62, low: 50, high: 81 })).toBe('62 s (50 to 81 s)');
  expect(describeEstimate({ seconds: 120, low: 89, high: 180 })).toBe('2 min (89 s to 3 min)');
  expect(describeEstimate({ seconds: 0.2, low: 0.1, high: 0.3 })).toBe('1 s');
  expect(describeRange({ low: 3600 * 2, high: 3600 * 3 })).toBe('2.0 to 3.0 h');
});
