// Scopes free tensors. A scope owns the tensors made while it is open; when it closes, it frees those that it does not
// return. Tensors made outside any scope live until they are disposed.
import { checkArgument, kinds } from '../arguments.ts';
import { deviceKind } from '../device/device.ts';
import { ArgumentError, ValueError } from '../errors.ts';
import { isPromise } from './native_types.ts';
import { TensorSearch } from './search.ts';
import type { Tensor } from './tensor.ts';

/**
 * An open scope, as returned by `openScope`.
 * @example
 * const work = openScope();
 * const doubled = work.run(() => mul(tensor([1, 2]), 2));
 * await doubled.data(); // [2, 4]
 * work.close();
 * doubled.disposed; // true
 */
export class Scope {
  private readonly tensors: Tensor[] = [];
  private readonly parent: Scope | undefined;
  private closed = false;

  /** Scopes are opened by `openScope`. @internal */
  constructor(parent: Scope | undefined) {
    this.parent = parent;
  }

  /** Makes this scope the owner of `tensor`. @internal */
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

  /**
   * Frees every tensor still owned, but hands those found in `result` to the enclosing scope.
   * @throws ArgumentError as `scope` does, after it freed all of them
   */
  close(result?: unknown): void {
    if (this.closed) return;
    this.closed = true;
    const owned = this.tensors.filter((t) => t.owner === this);
    this.tensors.length = 0;
    if (owned.length === 0) return;
    const { tensors: returned, hidden } = new TensorSearch(result, 'result', isLeaf);
    const refused = hidden !== undefined && owned.some((t) => !returned.has(t));
    for (const tensor of owned) {
      tensor.owner = undefined;
      if (refused || !returned.has(tensor)) tensor.dispose();
      else this.parent?.adopt(tensor);
    }
    if (refused) throw hiddenTensors('scope', 'a result', hidden);
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
 * Runs `fn` and frees every tensor made in it, except those in its result: a tensor, or tensors in arrays, plain objects, Maps (keys
 * and values), Sets and the properties of class instances, nested to any depth. The gradient of a tensor belongs to the tensor.
 * Typed arrays count as numbers, and arrays of more than 10,000 elements are searched by their elements alone. A class instance
 * shows its properties, but not what its methods use besides them, such as variables around the class.
 * JavaScript cannot look into functions, accessors, private fields (`#name`), Proxies, Promises, weak collections, iterators and
 * generators: a result that holds one is refused where the scope has tensors to free, since they may be hidden in it.
 * `fn` must be synchronous; for async code open a scope with `openScope`.
 * @throws ArgumentError for a result that may hide tensors, with the path to the part that may; all tensors are freed then
 * @example scope(() => sum(square(tensor([1, 2, 3])))); // 14
 */
export function scope<T>(fn: () => T): T {
  const inner = new Scope(active);
  let result: T | undefined;
  try {
    const returned = inner.run(fn);
    if (isPromise(returned))
      throw new ArgumentError(
        'scope',
        'a synchronous function (use openScope() with await)',
        'one that returns a Promise',
      );
    result = returned;
    return returned;
  } finally {
    inner.close(result);
  }
}

/**
 * Runs `fn` and frees every tensor made in it, without a look at the result: for results whose tensors no scope owns.
 * @internal
 */
export function scratch<T>(fn: () => T): T {
  const inner = new Scope(active);
  try {
    return inner.run(fn);
  } finally {
    inner.close();
  }
}

/**
 * A scope to open and close by hand: `const s = openScope(); s.run(() => ...); await ...; s.close()`.
 * @example
 * const s = openScope();
 * const x = s.run(() => square(tensor([1, 2])));
 * s.close();
 * x.disposed; // true
 */
export function openScope(): Scope {
  return new Scope(active);
}

/**
 * Takes tensors out of every scope: they live until they are disposed. Returns its argument, in which it finds tensors as `scope` does.
 * @throws ArgumentError for a value that may hide tensors, with the path to the part that may
 * @example
 * const kept = [];
 * scope(() => {
 *   kept.push(keep(ones([2])));
 * });
 * kept[0].disposed; // false
 */
export function keep<T>(value: T): T {
  const { tensors, hidden } = new TensorSearch(value, 'value', isLeaf);
  if (hidden !== undefined) throw hiddenTensors('keep', 'a value', hidden);
  for (const tensor of tensors) tensor.owner = undefined;
  return value;
}

/** A device holds no tensors, and those of another scope are not part of a result. */
function isLeaf(value: object): boolean {
  return value instanceof Scope || deviceKind.accepts(value);
}

function hiddenTensors(op: string, what: string, hidden: string): ArgumentError {
  const structures = 'arrays, plain objects, Maps, Sets and properties of class instances';
  return new ArgumentError(op, `${what} with tensors in ${structures} alone`, `${hidden}, which may hide tensors`);
}
