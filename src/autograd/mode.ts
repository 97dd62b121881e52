// Whether ops trace the gradient graph, and whether every result is checked.
import { checkArgument, kinds } from '../arguments.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Called for each op that runs untraced, with its operands, its results and, if it has no gradient, the reason. */
export type Witness = (
  parents: readonly (Tensor | undefined)[],
  outputs: readonly Tensor[],
  noGradient: string | undefined,
) => void;

/** One call of jvp() or linearize() that is running. */
export interface ForwardLevel {
  /** Called for each op that runs, before its results are returned. */
  push(step: ForwardStep): void;
}

/** An op that has run, as a level of forward mode sees it. */
export interface ForwardStep {
  readonly name: string;
  readonly parents: readonly (Tensor | undefined)[];
  readonly outputs: readonly Tensor[];
  readonly saved: readonly Tensor[];
  readonly attributes: unknown;
  /** The tangent rule of the op, or the message that says why it has none. */
  readonly tangent: ((context: TangentContext<unknown>) => Tangent) | string;
}

/** The tangent of the first output, or of each output; null for one that is constant. */
export type Tangent = Tensor | readonly (Tensor | null)[];

export interface TangentContext<Attributes> {
  /** The operands, in the order in which the op was applied to them; an absent one is undefined. */
  parents: readonly (Tensor | undefined)[];
  /** The tangent of each operand, in its shape; null for a constant one. At least one is not null. */
  tangents: readonly (Tensor | null)[];
  /** The first output. */
  output: Tensor;
  outputs: readonly Tensor[];
  /** The tensors given to apply() as `saved`, in order. */
  saved: readonly Tensor[];
  attributes: Attributes;
}

const NO_LEVELS: readonly ForwardLevel[] = [];

let tracing = true;
let witness: Witness | undefined;
let checking = false;
/** The running levels of forward mode, the outermost first; none inside noGrad. */
let levels = NO_LEVELS;
/** The levels that an enclosing noGrad has suspended. */
let suspended = NO_LEVELS;

/** The levels of forward mode that see the ops of this moment. */
export function activeLevels(): readonly ForwardLevel[] {
  return levels;
}

/** Runs `fn` with these levels of forward mode. */
export function withLevels<T>(active: readonly ForwardLevel[], fn: () => T): T {
  const before = levels;
  levels = active;
  try {
    return fn();
  } finally {
    levels = before;
  }
}

/** Whether ops add themselves to the gradient graph. */
export function isTracing(): boolean {
  return tracing;
}

/**
 * Runs `fn` untraced: its results carry no gradient, and no tangent of a jvp() around it.
 * @example noGrad(() => square(tensor([2], { requiresGrad: true }))).requiresGrad; // false
 */
export function noGrad<T>(fn: () => T): T {
  return withTracing(false, fn);
}

/**
 * Runs `fn` traced, inside a noGrad.
 * @example noGrad(() => enableGrad(() => square(tensor([2], { requiresGrad: true })))).requiresGrad; // true
 */
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
  const before = { tracing, witness, levels, suspended };
  tracing = value;
  witness = seen;
  if (value) {
    levels = suspended.length > 0 ? suspended : levels;
    suspended = NO_LEVELS;
  } else if (levels.length > 0) {
    suspended = levels;
    levels = NO_LEVELS;
  }
  try {
    return fn();
  } finally {
    ({ tracing, witness, levels, suspended } = before);
  }
}

export function isChecking(): boolean {
  return checking;
}

/**
 * Runs `fn`, forward and backward, and throws NonFiniteError at the first op whose result holds a NaN or an infinity.
 * @example checkFinite(() => sum(log(tensor([1, 1])))); // 0
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
