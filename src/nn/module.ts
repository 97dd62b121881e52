// Modules find their parameters and submodules by the names of their properties, which also name the entries of the
// state dict, as in PyTorch. A Tensor property is a parameter, or a constant if it requires no gradient; a Module or a
// list of modules is a child.
import { checkArgument, checkOptions, instanceOf, kind, kinds, listOf } from '../arguments.ts';
import { DtypeError, FileError, formatShape, ValueError } from '../errors.ts';
import { writeBf16 } from '../kernels/inner/conversion.ts';
import { sameShape, sizeOf } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';
import { escapeName } from '../text.ts';

/** Host arrays by name, as in checkpoints. */
export type StateValues = Map<string, HostValue>;

interface HostValue {
  shape: readonly number[];
  data: Float32Array;
}

/** What `loadStateDict` takes: host arrays or tensors, by name. */
export type StateDict = ReadonlyMap<string, Tensor | HostValue> | Readonly<Record<string, Tensor | HostValue>>;

/** The place of a tensor in a module, for reading and replacing it. */
export interface Slot {
  path: string;
  owner: Record<string, unknown>;
  key: string;
}

/** The differences between two sets of tensors, by name. */
interface StateMismatch {
  missing: string[];
  unknown: string[];
  misshapen: string[];
}

/** Compares `values` with the tensors of a model. */
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

/** @throws ArgumentError unless every value has a shape and the number of elements that it implies */
export function checkState(
  op: string,
  values: ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>,
): void {
  checkArgument(op, 'values', values, stateKind);
  for (const [name, value] of values) checkArgument(op, `values of "${name}"`, value, valuesKind);
}

const stateDictKind = kind(
  'a Map or an object of tensors or { shape, data }',
  (value) => value instanceof Map || (kinds.object.accepts(value) && !Tensor.is(value) && !Array.isArray(value)),
);
const stateKind = instanceOf(Map, 'a Map from names to { shape, data }');
const shapeKind = listOf(kinds.whole, 'whole numbers');
/** The kind of a host tensor: a shape and the number of elements that it implies. */
export const valuesKind = kind('{ shape, data: Float32Array } with data of the size of the shape', (value) => {
  if (!kinds.object.accepts(value)) return false;
  const { shape, data } = value as { shape: readonly number[]; data: Float32Array };
  return shapeKind.accepts(shape) && kinds.float32.accepts(data) && data.length === sizeOf(shape);
});

const LISTED = 8;

/** One line per kind of difference, with the first names and the number of further ones; no lines for equal sets. */
export function describeMismatch({ missing, unknown, misshapen }: StateMismatch): string[] {
  const line = (what: string, names: string[]) => {
    if (names.length === 0) return [];
    const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : '';
    const first = names.slice(0, LISTED).map((name) => escapeName(name));
    return [`  ${names.length} ${what}: ${first.join(', ')}${more}`];
  };
  return [...line('missing', missing), ...line('unknown', unknown), ...line('with a different shape', misshapen)];
}

/**
 * Base class of all layers: it finds parameters and submodules by property names, saves and loads them, and switches
 * between training and evaluation.
 * @example
 * class Residual extends Module {
 *   inner = new MLP([4, 16, 4]);
 *
 *   forward(x) {
 *     return add(x, this.inner.forward(x));
 *   }
 * }
 * const network = new Residual();
 * network.parameterCount(); // 148
 * [...network.stateDict().keys()].slice(0, 2); // ['inner.layers.0.weight', 'inner.layers.0.bias']
 * network.forward(zeros([3, 4])).shape; // [3, 4]
 * network.dispose();
 */
export abstract class Module {
  /** Whether dropout and the like are active; set by train() and eval(). */
  training = true;

  /**
   * Every tensor of this module and its children, in order of definition.
   * @throws ValueError for a module that contains itself
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

  /** Every tensor with its path, such as `down.0.conv1.weight`. */
  *namedTensors(): Generator<[string, Tensor]> {
    for (const { path, owner, key } of this.slots()) yield [path, owner[key] as Tensor];
  }

  /** The tensors that require a gradient, with their paths. */
  *namedParameters(): Generator<[string, Tensor]> {
    for (const [path, tensor] of this.namedTensors()) if (tensor.requiresGrad) yield [path, tensor];
  }

  /** Total number of elements of the parameters. */
  parameterCount(): number {
    let count = 0;
    for (const [, parameter] of this.namedParameters()) count += parameter.size;
    return count;
  }

  /** The result of namedTensors as a Map; the module keeps ownership of the tensors. */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedTensors());
  }

  /**
   * Copies values into this module's tensors.
   * @param values tensors or host arrays by name, in a Map or an object, with exactly the names and shapes of this
   * module: what `stateDict` of an equal module gives, or `readSafetensors`
   * @param origin name of the source in errors
   * @param options.partial copies the arrays that match and leaves the other tensors unchanged
   * @returns the differences, which are empty unless `partial` is set
   * @throws FileError listing missing and unknown names and wrong shapes; DtypeError for a tensor that is not f32;
   * nothing is copied then
   */
  loadStateDict(values: StateDict, origin = 'state', options: { partial?: boolean } = {}): StateMismatch {
    const given = checkStateDict(values);
    const { partial = false } = checkOptions<{ partial?: boolean }>('loadStateDict', options, {
      partial: kinds.boolean,
    });
    const own = this.stateDict();
    const mismatch = compareState(own, given);
    const lines = describeMismatch(mismatch);
    if (lines.length > 0 && !partial) throw new FileError(origin, ['does not fit this model:', ...lines]);
    const fitting = [...given].flatMap(([name, value]) => {
      const target = own.get(name);
      return target && sameShape(target.shape, value.shape) ? [{ name, target, value }] : [];
    });
    for (const { name, target, value } of fitting) {
      target.assertAlive('loadStateDict()');
      if (target.dtype !== 'f32') throw new DtypeError('loadStateDict', `f32 as "${name}"`, target.describe());
      if (!Tensor.is(value)) continue;
      value.assertAlive('loadStateDict()');
      if (value.dtype !== 'f32') throw new DtypeError('loadStateDict', `f32 for "${name}"`, value.describe());
    }
    for (const { target, value } of fitting) {
      copyInto(target, value);
      if (target.bf16) writeBf16(target, target.bf16);
    }
    return mismatch;
  }

  /**
   * Enables dropout and other training behaviour, including in all children. Returns this.
   * @throws ValueError for a module that contains itself
   */
  train(training = true): this {
    assertTree(this, '', []);
    this.training = training;
    for (const value of Object.values(this)) for (const child of children(value)) child.train(training);
    return this;
  }

  /** Disables dropout and other training behaviour. Returns this. */
  eval(): this {
    return this.train(false);
  }

  /** Frees every tensor. */
  dispose(): void {
    for (const [, tensor] of this.namedTensors()) tensor.dispose();
  }

  /** Disposes the module at the end of a scope: `using network = ...`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** The entries of a state dict. @throws ArgumentError unless every value is a tensor or a host array */
function checkStateDict(values: StateDict): ReadonlyMap<string, Tensor | HostValue> {
  checkArgument('loadStateDict', 'values', values, stateDictKind);
  const entries = values instanceof Map ? (values as ReadonlyMap<string, unknown>) : Object.entries(values);
  const given = new Map<string, Tensor | HostValue>();
  for (const [name, value] of entries) {
    if (!Tensor.is(value)) checkArgument('loadStateDict', `values of "${name}"`, value, valuesKind);
    given.set(name, value as Tensor | HostValue);
  }
  return given;
}

/** Overwrites a tensor; between tensors of one device the values stay there. */
function copyInto(target: Tensor, value: Tensor | HostValue): void {
  const { device, address, size, storage } = target;
  if (!Tensor.is(value)) target.write(value.data);
  else if (value.device !== device) target.write(value.dataSync());
  else {
    device.copy(address, value.address, 4 * size);
    storage.markWritten();
  }
}

/** @throws ValueError with the property through which a module or list contains itself: walking it would never end */
function assertTree(value: unknown, path: string, above: readonly unknown[]): void {
  if (!(value instanceof Module) && !Array.isArray(value)) return;
  if (above.includes(value))
    throw new ValueError(`[Module] expected children without a cycle, got "${path}", which is one of its own parents`);
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
