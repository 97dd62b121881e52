// A module: parameters and submodules found by the names of its properties, as PyTorch's state dict names them:
// a Tensor property is a parameter (a constant when it requires no gradient), a Module or a list of them is a child.
import { checkArgument, checkOptions, instanceOf, kind, kinds, listOf } from '../arguments.ts';
import { DtypeError, FileError, formatShape, ValueError } from '../errors.ts';
import { writeBf16 } from '../kernels/inner/conversion.ts';
import { sameShape, sizeOf } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { shownName } from '../text.ts';

/** Host arrays by name, as checkpoints carry them. */
export type StateValues = Map<string, { shape: readonly number[]; data: Float32Array }>;

/** Where a tensor hangs in a module: reading and replacing it. */
export interface Slot {
  path: string;
  owner: Record<string, unknown>;
  key: string;
}

/** Names of tensors in which two sets differ; shapes in words. */
export interface StateMismatch {
  missing: string[];
  unknown: string[];
  misshapen: string[];
}

/** How `values` differ from what a model has. */
export function compareState(
  own: ReadonlyMap<string, { shape: readonly number[] }>,
  values: ReadonlyMap<string, { shape: readonly number[] }>,
): StateMismatch {
  const shapes = (name: string) => [own.get(name)?.shape ?? [], values.get(name)?.shape ?? []];
  const shared = [...values.keys()].filter((name) => own.has(name));
  return {
    missing: [...own.keys()].filter((name) => !values.has(name)),
    unknown: [...values.keys()].filter((name) => !own.has(name)),
    misshapen: shared
      .map((name) => [name, ...shapes(name)] as const)
      .filter(([, a, b]) => !sameShape(a, b))
      .map(([name, a, b]) => `${name} is ${formatShape(b)}, expected ${formatShape(a)}`),
  };
}

/** @throws ArgumentError unless `values` holds a shape and as many numbers under each name */
export function checkState(
  op: string,
  values: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
): void {
  checkArgument(op, 'values', values, stateKind);
  for (const [name, value] of values) checkArgument(op, `values of "${name}"`, value, valuesKind);
}

const stateKind = instanceOf(Map, 'a Map from names to { shape, data }');
const shapeKind = listOf(kinds.whole, 'whole numbers');
/** The kind of a host tensor: a shape and as many numbers. */
export const valuesKind = kind('{ shape, data: Float32Array } with as many numbers as the shape says', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { shape, data } = value as { shape: readonly number[]; data: Float32Array };
  return shapeKind.accepts(shape) && kinds.float32.accepts(data) && data.length === sizeOf(shape);
});

const LISTED = 8;

/** One line a kind with the first names and how many more there are; none where nothing differs. */
export function describeMismatch({ missing, unknown, misshapen }: StateMismatch): string[] {
  const line = (what: string, names: string[]) => {
    if (names.length === 0) return [];
    const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
    const first = names.slice(0, LISTED).map((name) => shownName(name));
    return [`  ${names.length} ${what}: ${first.join(', ')}${more}`];
  };
  return [...line('missing', missing), ...line('unknown', unknown), ...line('of another shape', misshapen)];
}

/** Base of all layers: finds parameters and submodules by property names, saves and loads them, switches training on and off. */
export abstract class Module {
  /** Whether dropout and the like are active; set by train() and eval(). */
  training = true;

  /**
   * Every tensor of this module and its children, in order of definition.
   * @throws ValueError for a module that holds itself
   * @internal
   */
  *slots(prefix = ''): Generator<Slot> {
    if (prefix === '') assertTree(this, '', []);
    for (const [key, value] of Object.entries(this)) {
      const path = prefix + key;
      if (Tensor.is(value)) yield { path, owner: this as unknown as Record<string, unknown>, key };
      else yield* childSlots(value, `${path}.`);
    }
  }

  /** Every tensor by its path, such as `down.0.conv1.weight`. */
  *namedTensors(): Generator<[string, Tensor]> {
    for (const { path, owner, key } of this.slots()) yield [path, owner[key] as Tensor];
  }

  /** The tensors that training changes. */
  *namedParameters(): Generator<[string, Tensor]> {
    for (const [path, tensor] of this.namedTensors()) if (tensor.requiresGrad) yield [path, tensor];
  }

  /** Numbers that training changes. */
  parameterCount(): number {
    let count = 0;
    for (const [, parameter] of this.namedParameters()) count += parameter.size;
    return count;
  }

  /** As namedTensors; the tensors stay the module's. */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedTensors());
  }

  /**
   * Copies values into this module's tensors.
   * @param values host arrays by name; every name must be there and no other, with its shape
   * @param options.partial copies what fits and leaves the rest as it is
   * @returns what did not fit: nothing unless partial
   * @throws FileError listing every missing, unknown and misshapen name; DtypeError for a tensor that is not f32; nothing is copied then
   */
  loadStateDict(values: StateValues, origin = 'state', options: { partial?: boolean } = {}): StateMismatch {
    checkState('loadStateDict', values);
    const { partial = false } = checkOptions<{ partial?: boolean }>('loadStateDict', options, {
      partial: kinds.boolean,
    });
    const own = this.stateDict();
    const mismatch = compareState(own, values);
    const lines = describeMismatch(mismatch);
    if (lines.length > 0 && !partial) throw new FileError(origin, ['does not fit this model:', ...lines]);
    const fitting = [...values].flatMap(([name, { shape, data }]) => {
      const target = own.get(name);
      return target && sameShape(target.shape, shape) ? [{ name, target, data }] : [];
    });
    for (const { name, target } of fitting) {
      target.assertAlive('loadStateDict()');
      if (target.dtype !== 'f32') throw new DtypeError('loadStateDict', `f32 as "${name}"`, target.describe());
    }
    for (const { target, data } of fitting) {
      target.write(data);
      if (target.bf16) writeBf16(target, target.bf16);
    }
    return mismatch;
  }

  /** Switches dropout and the like on, in all children too. Returns this. @throws ValueError for a module that holds itself */
  train(training = true): this {
    assertTree(this, '', []);
    this.training = training;
    for (const value of Object.values(this)) for (const child of children(value)) child.train(training);
    return this;
  }

  /** Switches dropout and the like off. Returns this. */
  eval(): this {
    return this.train(false);
  }

  /** Frees every tensor. */
  dispose(): void {
    for (const [, tensor] of this.namedTensors()) tensor.dispose();
  }

  /** For `using network = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** @throws ValueError naming the property by which a module or a list holds itself: a walk through it would have no end */
function assertTree(value: unknown, path: string, above: readonly unknown[]): void {
  if (!(value instanceof Module) && !Array.isArray(value)) return;
  if (above.includes(value))
    throw new ValueError(
      `[Module] expected children without a cycle, got "${path}", which is a module or list above it`,
    );
  for (const [key, child] of Object.entries(value))
    if (typeof child === 'object') assertTree(child, path === '' ? key : `${path}.${key}`, [...above, value]);
}

function children(value: unknown): Module[] {
  if (value instanceof Module) return [value];
  return Array.isArray(value) ? value.flatMap(children) : [];
}

function* childSlots(value: unknown, prefix: string): Generator<Slot> {
  if (value instanceof Module) yield* value.slots(prefix);
  else if (Array.isArray(value))
    for (const [index, item] of value.entries()) yield* childSlots(item, `${prefix}${index}.`);
}

/** The kind of an argument that is a module. */
export const moduleKind = instanceOf(Module, 'a Module');
