// The time that is left, with a clock of the test: nothing until the speed is known, then the speed of the last seconds.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { StageTotals } from '../../src/cli/stage_totals.ts';
import { timeLeft } from '../../src/cli/time_left.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** What is shown after each step of some seconds. */
function shown(total: number, seconds: readonly number[], from = 0): string[] {
  const left = timeLeft(total);
  return seconds.map((each, i) => {
    vi.advanceTimersByTime(1000 * each);
    return left(from + i + 1);
  });
}

describe('a bar', () => {
  it('shows no time at the first two steps, whatever they took', () => {
    expect(shown(100, [30, 1])).toEqual(['', '']);
  });

  it('does not count the first step, which compiles and allocates', () => {
    expect(shown(100, [60, 1, 1, 1])).toEqual(
      ['', '', '97 s left', '96 s left'].map((text) => text.replace(/9\d s/, '2 min')),
    );
  });

  it('shows nothing before a second has passed', () => {
    expect(shown(1000, Array(9).fill(0.2)).slice(0, 7)).toEqual(
      ['', '', '', '', '', '199 s left', '199 s left'].map((text) => text && '3 min left'),
    );
  });

  it('follows a change of speed within twenty seconds', () => {
    const slow = Array(40).fill(1);
    const fast = Array(300).fill(0.1);
    const texts = shown(1000, [...slow, ...fast]);
    expect(texts[39]).toBe('16 min left');
    expect(texts[339]).toBe('66 s left');
  });

  it('of a resumed run counts from where it resumes, and the last step has none', () => {
    expect(shown(1000, [5, 2, 2], 500)).toEqual(['', '', '17 min left']);
    expect(shown(4, [1, 1, 1, 1])).toEqual(['', '', '1 s left', '']);
  });

  it('does not divide by zero where a step is reported twice', () => {
    const left = timeLeft(10);
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(1000);
      expect(left(3)).toBe('');
    }
  });
});

describe('all stages', () => {
  const stage = (seconds: number) => ({ seconds, low: 0.8 * seconds, high: 1.3 * seconds });

  it('show nothing without estimates', () => {
    const totals = new StageTotals();
    totals.begin(0);
    totals.progress(0.5);
    expect([totals.describe(), totals.describeLeft(), totals.left]).toEqual(['', '', undefined]);
  });

  it('count by estimated time', () => {
    const totals = new StageTotals();
    totals.estimated([stage(10), stage(60), stage(30)]);
    totals.begin(0);
    expect(totals.describe()).toBe('total 0 %');
    vi.advanceTimersByTime(40_000);
    totals.begin(1);
    totals.progress(0.5);
    expect(totals.describe()).toBe('total 40 %');
    expect(totals.left?.seconds).toBeCloseTo(60);
  });

  it('correct the estimates by the time that was taken: twice as slow, twice as long', () => {
    const totals = new StageTotals();
    totals.estimated([stage(20), stage(50)]);
    totals.begin(0);
    vi.advanceTimersByTime(40_000);
    totals.begin(1);
    expect(totals.left?.seconds).toBeCloseTo(100);
    expect(totals.describeLeft()).toBe('40 s so far, 80 s to 2 min left');
  });

  it('do not learn a speed from work of an earlier session', () => {
    const totals = new StageTotals();
    totals.estimated([stage(0), stage(100), stage(50)]);
    totals.begin(1);
    totals.resume(0.5);
    totals.progress(0.75);
    vi.advanceTimersByTime(25_000);
    expect(totals.left?.seconds).toBeCloseTo(75);
    expect(totals.elapsed).toBeCloseTo(25);
  });
});
