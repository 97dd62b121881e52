// Progress as plain lines: the first immediately, then one every five seconds and the last, with the time left.
import { afterEach, expect, it, vi } from 'vitest';
import { startProgress } from '../../src/cli/progress.ts';
import { say } from '../../src/cli/screen.ts';
import { fakeTerminal } from '../support/terminal.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  vi.unstubAllEnvs();
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
  vi.stubEnv('TERM', 'xterm');
  vi.stubEnv('NO_COLOR', '1');
  vi.stubEnv('LC_ALL', 'C');
  using terminal = fakeTerminal(process.stderr, 60);
  const progress = startProgress('train', 10);
  progress.update(1, 'loss 1');
  say('note: \x1b[2Jcleared');
  for (const done of [2, 3]) {
    vi.advanceTimersByTime(1000);
    progress.update(done, `loss ${done}`);
  }
  progress.stop();
  say('done');
  const bar = (filled: number, width: number, rest: string) =>
    `train ${'#'.repeat(filled)}${'.'.repeat(width - filled)} ${rest}`;
  expect(terminal.text()).toBe(
    `\r\x1b[K${bar(3, 30, '1/10  0 s  loss 1')}` +
      `\r\x1b[Knote: \\x1b[2Jcleared\n${bar(3, 30, '1/10  0 s  loss 1')}` +
      `\r\x1b[K${bar(6, 30, '2/10  1 s  loss 2')}` +
      `\r\x1b[K${bar(8, 25, '3/10  2 s, 7 s left  loss 3')}` +
      `\r\x1b[K${bar(8, 25, '3/10  2 s, 7 s left  loss 3')}\n` +
      'done\n',
  );
});

it.each([
  ['xterm', 24, ['note: a text of many', 'words is broken between', 'them']],
  ['dumb', 24, ['note: a text of many words is broken between them']],
  ['xterm', 200, ['note: a text of many words is broken between them']],
])('text in a terminal of the kind %s with %s columns', (term, columns, lines) => {
  vi.stubEnv('TERM', term);
  using terminal = fakeTerminal(process.stderr, columns);
  say('note: a text of many words is broken between them');
  expect(terminal.text().trimEnd().split('\n')).toEqual(lines);
});

it('a terminal without cursor movement gets lines', () => {
  vi.stubEnv('TERM', 'dumb');
  using terminal = fakeTerminal(process.stderr, 80);
  const progress = startProgress('train', 3);
  progress.update(1, 'loss 1');
  progress.stop();
  expect(terminal.text()).toBe('train 1/3  loss 1\n');
});
