// Plain lines of progress: the first at once, then one every five seconds and the last, with the time left.
import { afterEach, expect, it, vi } from 'vitest';
import { startProgress } from '../../src/cli/progress.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

it('a run that goes on from step 100 counts the time of its own steps', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const written: string[] = [];
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
  const progress = startProgress('train', 1000);
  for (let done = 101; done <= 107; done++) {
    progress.update(done, `loss ${done}`);
    vi.advanceTimersByTime(2000);
  }
  progress.update(1000, 'loss 0');
  progress.stop();
  progress.stop();
  expect(written).toEqual([
    'train 101/1000  loss 101\n',
    'train 104/1000  loss 104  30 min left\n',
    'train 107/1000  loss 107  30 min left\n',
    'train 1000/1000  loss 0\n',
  ]);
});
