// Work in pieces, as generators. A piece blocks the event loop; between two pieces the event loop may run. A solver
// yields after each evaluation of its velocity, or after each micro-batch of it.
import { noGrad } from '../autograd/mode.ts';
import { keep, openScope } from '../tensor/scope.ts';
import { nextTurn } from '../turn.ts';

export type Pieces<T> = Generator<undefined, T, undefined>;

/** Longest time without a turn of the event loop, in milliseconds, unless one piece takes longer. */
const TURN_MS = 20;

/** Runs all pieces, one after the other. */
export function atOnce<T>(pieces: Pieces<T>): T {
  for (;;) {
    const piece = pieces.next();
    if (piece.done) return piece.value;
  }
}

/**
 * Runs the pieces of `make` inside noGrad(). Between two of them, the event loop runs if it last did so more than 20 ms
 * ago.
 * @returns the result; the caller disposes its tensors
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

/** The pieces of `make`, each run inside `enter`: `within(noGrad, make)` records no gradients. */
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

/** The pieces of `make` in one scope: tensors that they make and do not return are freed at the end. */
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
