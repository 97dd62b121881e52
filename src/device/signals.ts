// Watches signals of the process, also while work blocks the event loop.
import { constants } from 'node:os';
import { DeviceError } from '../errors.ts';
import { SignalPoll } from './native/libuv.ts';

/** The polling interval of the event loop in milliseconds. */
const POLL_MS = 20;

/**
 * Reports each signal by its number: from `poll`, which blocking work calls, and from the event loop. Until the watch is disposed,
 * the signals have no other effect.
 */
export function watchSignals(
  names: readonly NodeJS.Signals[],
  onSignal: (signal: number) => void,
): { poll(): void } & Disposable {
  const numbers = names.map((name) => constants.signals[name]);
  try {
    const source = new SignalPoll(numbers);
    const poll = () => {
      for (const signal of source.poll()) onSignal(signal);
    };
    const timer = setInterval(poll, POLL_MS);
    return {
      poll,
      [Symbol.dispose]() {
        clearInterval(timer);
        source[Symbol.dispose]();
      },
    };
  } catch (error) {
    // Without koffi, a signal is seen when the event loop runs: after an evaluation or a step.
    if (!(error instanceof DeviceError)) throw error;
    const listeners = names.map((name, i) => [name, () => onSignal(numbers[i])] as const);
    for (const [name, listener] of listeners) process.on(name, listener);
    return {
      poll() {},
      [Symbol.dispose]() {
        for (const [name, listener] of listeners) process.off(name, listener);
      },
    };
  }
}
