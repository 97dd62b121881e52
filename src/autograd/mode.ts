// Whether ops trace the gradient graph, and whether every result is checked.
import { checkArgument, kinds } from '../arguments.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Called for each op that runs untraced, with its operands, its results and, if it has no gradient, the reason. */
export type Witness = (
  parents: readonly (Tensor | undefined)[],
  outputs: readonly Tensor[],
  noGradient: string | undefined,
) => void;

let tracing = true;
let witness: Witness | undefined;
let checking = false;

/** Whether ops add themselves to the gradient graph. */
export function isTracing(): boolean {
  return tracing;
}

/** Runs `fn` untraced: its results carry no gradient. */
export function noGrad<T>(fn: () => T): T {
  return withTracing(false, fn);
}

/** Runs `fn` traced, inside a noGrad. */
export function enableGrad<T>(fn: () => T): T {
  return withTracing(true, fn);
}

/** Runs `fn` untraced and calls `seen` for each of its ops, except for those inside a nested noGrad. */
export function withWitness<T>(seen: Witness, fn: () => T): T {
  return withTracing(false, fn, seen);
}

export function activeWitness(): Witness | undefined {
  return witness;
}

function withTracing<T>(value: boolean, fn: () => T, seen?: Witness): T {
  checkArgument(value ? 'enableGrad' : 'noGrad', 'its argument', fn, kinds.callback);
  const before = { tracing, witness };
  tracing = value;
  witness = seen;
  try {
    return fn();
  } finally {
    tracing = before.tracing;
    witness = before.witness;
  }
}

export function isChecking(): boolean {
  return checking;
}

/**
 * Runs `fn`, forward and backward, and throws NonFiniteError at the first op whose result holds a NaN or an infinity.
 */
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
