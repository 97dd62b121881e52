// Progress as plain lines: the first immediately, then one every five seconds and the last, with the time left.
import { afterEach, expect, it, vi } from 'vitest';
import { startProgress } from '../../src/cli/progress.ts';
import { say } from '../../src/cli/screen.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

it('a run resumed from step 100 estimates time from its own steps', () => {
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

it('text appears above the bar, which never wraps, and text from a file cannot move the cursor', () => {
  vi.useFakeTimers({ toFake: ['performance'] });
  const { isTTY, columns } = process.stderr;
  Object.assign(process.stderr, { isTTY: true, columns: 60 });
  let written = '';
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written += text;
    return true;
  });
  try {
    const progress = startProgress('train', 10);
    progress.update(1, 'loss 1');
    say('note: \x1b[2Jcleared');
    vi.advanceTimersByTime(1000);
    progress.update(2, 'loss 2');
    progress.stop();
    say('done');
  } finally {
    Object.assign(process.stderr, { isTTY, columns });
  }
  const bar = (filled: number, rest: string) =>
    `train ${'#'.repeat(filled)}${'.'.repeat(30 - filled)} ${rest}`.slice(0, 59);
  expect(written).toBe(
    `\r\x1b[K${bar(3, '1/10  0 s  loss 1')}` +
      `\r\x1b[Knote: \\x1b[2Jcleared\n${bar(3, '1/10  0 s  loss 1')}` +
      `\r\x1b[K${bar(6, '2/10  1 s, 8 s left  loss 2')}` +
      `\r\x1b[K${bar(6, '2/10  1 s, 8 s left  loss 2')}\n` +
      'done\n',
  );
});
