// Scopes: a scope owns the tensors made while it is open and, when it closes, frees those that it does not return.
// Tensors made outside any scope live until they are disposed.
import { checkArgument, kinds } from '../arguments.ts';
import { ArgumentError, ValueError } from '../errors.ts';
import { Tensor } from './tensor.ts';

/** An open scope, as returned by `openScope`. */
export class Scope {
  private readonly tensors: Tensor[] = [];
  private readonly parent: Scope | undefined;
  private closed = false;

  constructor(parent: Scope | undefined) {
    this.parent = parent;
  }

  /** Makes this scope the owner of `tensor`. */
  adopt(tensor: Tensor): void {
    tensor.owner = this;
    this.tensors.push(tensor);
  }

  /** Runs `fn` with this scope open; for code that awaits between its pieces. */
  run<T>(fn: () => T): T {
    if (this.closed) throw new ValueError('[scope] this scope is closed');
    checkArgument('scope', 'its argument', fn, kinds.callback);
    const outer = active;
    active = this;
    try {
      return fn();
    } finally {
      active = outer;
    }
  }

  /** Frees every tensor still owned, but hands those found in `result` to the enclosing scope. */
  close(result?: unknown): void {
    if (this.closed) return;
    this.closed = true;
    const returned = new Set<Tensor>();
    collectTensors(result, returned, 0);
    for (const tensor of this.tensors) {
      if (tensor.owner !== this) continue;
      tensor.owner = undefined;
      if (!returned.has(tensor)) tensor.dispose();
      else this.parent?.adopt(tensor);
    }
    this.tensors.length = 0;
  }

  /** For `using s = openScope()`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

let active: Scope | undefined;

/** The innermost open scope, which owns newly made tensors. */
export function activeScope(): Scope | undefined {
  return active;
}

/**
 * Runs `fn` and frees every tensor made in it, except those it returns (alone, or inside arrays and plain objects).
 * `fn` must be synchronous; for async code open a scope with `openScope`.
 */
export function scope<T>(fn: () => T): T {
  const inner = new Scope(active);
  let result: T | undefined;
  try {
    result = inner.run(fn);
    if (result instanceof Promise)
      throw new ArgumentError(
        'scope',
        'a synchronous function (use openScope() with await)',
        'one that returns a Promise',
      );
    return result;
  } finally {
    inner.close(result);
  }
}

/** A scope to open and close by hand: `const s = openScope(); s.run(() => ...); await ...; s.close()`. */
export function openScope(): Scope {
  return new Scope(active);
}

/** Takes tensors out of every scope: they live until they are disposed. Returns its argument. */
export function keep<T>(value: T): T {
  const tensors = new Set<Tensor>();
  collectTensors(value, tensors, 0);
  for (const tensor of tensors) tensor.owner = undefined;
  return value;
}

const DEEPEST = 8;

function collectTensors(value: unknown, found: Set<Tensor>, depth: number): void {
  if (Tensor.is(value)) found.add(value);
  else if (depth < DEEPEST && value !== null && typeof value === 'object') {
    if (Array.isArray(value)) for (const item of value) collectTensors(item, found, depth + 1);
    else if (value instanceof Map) for (const item of value.values()) collectTensors(item, found, depth + 1);
    else if (Object.getPrototypeOf(value) === Object.prototype)
      for (const item of Object.values(value)) collectTensors(item, found, depth + 1);
  }
}
