// Signals while the event loop is blocked. The process signals itself; signals that would end it are tested in a child process.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { checkBetweenKernels, interruptionPoint, withoutInterruption } from '../../src/device/interruption.ts';
import { watchSignals } from '../../src/device/signals.ts';
import { mul, tensor } from '../../src/index.ts';
import { openTestDevice } from '../support/devices.ts';

it('are reported by poll() and in the event loop', async () => {
  const seen: number[] = [];
  {
    using signals = watchSignals(['SIGUSR2'], (signal) => seen.push(signal));
    process.kill(process.pid, 'SIGUSR2');
    const end = performance.now() + 5000;
    while (seen.length === 0 && performance.now() < end) signals.poll();
    expect(seen).toEqual([12]);
    process.kill(process.pid, 'SIGUSR2');
    while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seen).toEqual([12, 12]);
  }
});

it.each(['cpu', 'wasm'] as const)(
  'a check between kernels aborts work on %s, except uninterruptible work',
  async (kind) => {
    const device = await openTestDevice(kind);
    const x = tensor([1, 2], { device });
    const { live } = device.memory();
    {
      using _check = checkBetweenKernels(() => {
        throw new Error('now');
      });
      expect(() => interruptionPoint()).toThrow('now');
      expect(() => mul(x, 2)).toThrow('now');
      expect([...withoutInterruption(() => mul(x, 2)).dataSync()]).toEqual([2, 4]);
      const recording = device.record(() => device.copy(x.address, x.address, 4));
      expect(() => recording.replay()).toThrow('now');
      recording[Symbol.dispose]();
      const whole = withoutInterruption(() => device.record(() => device.copy(x.address, x.address, 4)));
      whole.replay();
      whole[Symbol.dispose]();
    }
    mul(x, 2).dispose();
    expect(device.memory().live).toBeGreaterThanOrEqual(live);
  },
);

const module = (path: string) => JSON.stringify(fileURLToPath(new URL(`../../dist/${path}`, import.meta.url)));

const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

/** A child process that runs `body`, usually work that blocks the event loop. */
function blocked(body: string) {
  const script = `
    import { runInterruptible } from ${module('cli/interrupt.js')};
    import { interruptionPoint } from ${module('device/interruption.js')};
    const ready = () => process.stdout.write('ready');
    ${body}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const lines = createInterface({ input: child.stderr });
  return { child, ready: once(child.stdout, 'data'), said: once(lines, 'line'), ended: once(child, 'close') };
}

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('the second %s ends work that ignores the first', async (signal, code) => {
  const { child, ready, said, ended } = blocked(
    'await runInterruptible(async () => { ready(); for (;;) try { interruptionPoint(); } catch {} });',
  );
  await ready;
  child.kill(signal);
  expect((await said)[0]).toMatch(/^stopping within about a second; interrupt again to stop now$/);
  // Signals that follow immediately count as the first, because npm forwards those that the terminal has sent already.
  child.kill(signal);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  expect(child.exitCode).toBe(null);
  child.kill(signal);
  expect((await ended)[0]).toBe(code);
});

it('the first ends a computation between two kernels', async () => {
  const { child, ready, ended } = blocked(`
    await runInterruptible(async () => { ready(); for (;;) interruptionPoint(); }).catch((error) => process.exit(error.name === 'AbortError' ? 7 : 8));`);
  await ready;
  child.kill('SIGINT');
  expect((await ended)[0]).toBe(7);
});

it('the first ends work that awaits', async () => {
  const { child, ready, ended } = blocked(`
    setInterval(() => {}, 1000);
    await runInterruptible(() => new Promise(ready)).catch((error) => process.exit(error.name === 'AbortError' ? 7 : 8));`);
  await ready;
  child.kill('SIGTERM');
  expect((await ended)[0]).toBe(7);
});
