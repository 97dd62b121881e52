// Work in pieces. A piece blocks the event loop; between two pieces, others may have their turn. A solver yields after each
// evaluation of its velocity and, where that goes by micro-batches, after each of those.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { noGrad } from '../autograd/mode.ts';
import { keep, openScope } from '../tensor/scope.ts';

export type Pieces<T> = Generator<undefined, T, undefined>;

/** How long pieces may follow each other before the event loop has its turn, in milliseconds. */
const TURN_MS = 20;

/** Runs all pieces, one after the other. */
export function atOnce<T>(pieces: Pieces<T>): T {
  for (;;) {
    const piece = pieces.next();
    if (piece.done) return piece.value;
  }
}

/**
 * Runs the pieces that `make` gives without gradients. Between two of them timers, I/O and the signal have their turn, if the last turn was more than 20 ms
 * ago.
 * @returns the result, whose tensors the caller disposes
 * @throws the signal's reason when aborted
 */
export async function inTurns<T>(make: () => Pieces<T>, signal?: AbortSignal): Promise<T> {
  const owner = openScope();
  const pieces = owner.run(() => noGrad(make));
  let turn = performance.now();
  try {
    for (;;) {
      signal?.throwIfAborted();
      const piece = owner.run(() => noGrad(() => pieces.next()));
      if (piece.done) return keep(piece.value);
      if (performance.now() - turn < TURN_MS) continue;
      await nextTurn();
      turn = performance.now();
    }
  } finally {
    owner.run(() => pieces.return(undefined as T));
    owner.close();
  }
}

/** The pieces that `make` gives, each run by `enter`: `within(noGrad, make)` computes without gradients. */
export function* within<T>(enter: <R>(run: () => R) => R, make: () => Pieces<T>): Pieces<T> {
  const pieces = enter(make);
  try {
    for (;;) {
      const piece = enter(() => pieces.next());
      if (piece.done) return piece.value;
      yield;
    }
  } finally {
    enter(() => pieces.return(undefined as T));
  }
}

/** The pieces that `make` gives, in one scope: tensors that they make and do not return are freed at the end. */
export function* withScope<T>(make: () => Pieces<T>): Pieces<T> {
  const inner = openScope();
  let result: T | undefined;
  try {
    result = yield* within((run) => inner.run(run), make);
    return result;
  } finally {
    inner.close(result);
  }
}
