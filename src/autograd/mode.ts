// Whether ops record what their backward needs, and whether every result is checked.
import { checkArgument, kinds } from '../arguments.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Told of each op that runs without being recorded: its operands, its results and, where it has no gradient, the reason. */
export type Witness = (
  parents: readonly (Tensor | undefined)[],
  outputs: readonly Tensor[],
  noGradient: string | undefined,
) => void;

let recording = true;
let witness: Witness | undefined;
let checking = false;

export function isRecording(): boolean {
  return recording;
}

/** Runs `fn` without recording: its results carry no gradient. */
export function noGrad<T>(fn: () => T): T {
  return withRecording(false, fn);
}

/** Runs `fn` with recording on, inside a noGrad. */
export function enableGrad<T>(fn: () => T): T {
  return withRecording(true, fn);
}

/** Runs `fn` without recording, but tells `seen` of its ops, those in a noGrad of its own left out. */
export function withWitness<T>(seen: Witness, fn: () => T): T {
  return withRecording(false, fn, seen);
}

export function activeWitness(): Witness | undefined {
  return witness;
}

function withRecording<T>(value: boolean, fn: () => T, seen?: Witness): T {
  checkArgument(value ? 'enableGrad' : 'noGrad', 'its argument', fn, kinds.callback);
  const before = { recording, witness };
  recording = value;
  witness = seen;
  try {
    return fn();
  } finally {
    recording = before.recording;
    witness = before.witness;
  }
}

export function isChecking(): boolean {
  return checking;
}

/** Runs `fn`, forward and backward, and throws NonFiniteError at the first op whose result holds a NaN or an infinity. */
export function checkFinite<T>(fn: () => T): T {
  checkArgument('checkFinite', 'its argument', fn, kinds.callback);
  const before = checking;
  checking = true;
  try {
    return fn();
  } finally {
    checking = before;
  }
}
