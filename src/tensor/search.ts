// Finds the tensors in a value of any structure, for scope() and keep(). What JavaScript cannot look into is reported by its
// path: the variables of a function, private fields, the inside of a Promise, a WeakMap or an iterator.
import { describeValue } from '../arguments.ts';
import { isAnyArrayBuffer, isMap, isNativeError, isProxy, isSet } from './native_types.ts';
import { Tensor } from './tensor.ts';

/** An object to look into, and the way to it. */
interface Place {
  readonly value: object;
  /** A property or an index of the object above. */
  readonly key: PropertyKey;
  readonly above: Place | undefined;
  /** Where the key is an index into the entries of a Map or a Set. */
  readonly entries?: 'keys' | 'values';
}

/**
 * Looks through arrays, plain objects, Maps (keys and values), Sets and class instances, at any depth; cycles are fine.
 * Many scopes close in a training step, so a result that is a tensor is found without a list of visited objects.
 */
export class TensorSearch {
  readonly tensors = new Set<Tensor>();
  /** A part of the value that may hold tensors which cannot be found: "a function at result.get". */
  hidden: string | undefined;
  private readonly isLeaf: (value: object) => boolean;
  private seen: Set<object> | undefined;
  private readonly waiting: Place[] = [];

  /**
   * @param root the name of `value` in the path
   * @param isLeaf says which objects hold no tensors of the caller and are not looked into
   */
  constructor(value: unknown, root: string, isLeaf: (value: object) => boolean) {
    this.isLeaf = isLeaf;
    this.look(value, root, undefined);
    for (let place = this.waiting.pop(); place !== undefined; place = this.waiting.pop()) this.expand(place);
  }

  private look(value: unknown, key: PropertyKey, above: Place | undefined, entries?: 'keys' | 'values'): void {
    if (Tensor.is(value)) this.tensors.add(value);
    else if ((typeof value === 'object' && value !== null) || typeof value === 'function') {
      this.seen ??= new Set();
      if (this.seen.has(value)) return;
      this.seen.add(value);
      this.waiting.push({ value, key, above, entries });
    }
  }

  private expand(place: Place): void {
    const { value } = place;
    if (typeof value === 'function' || isProxy(value)) {
      this.hide(typeof value === 'function' ? 'a function' : 'a Proxy', place);
      return;
    }
    const prototype: object | null = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null) {
      if (ArrayBuffer.isView(value) || isAnyArrayBuffer(value) || this.isLeaf(value)) return;
      const openness = opennessOf(prototype);
      if (openness !== 'open') {
        this.hide(describeHidden(value, openness), place);
        return;
      }
      if (isMap(value)) this.lookAtMap(value, place);
      else if (isSet(value)) this.lookAtSet(value, place);
    }
    if (Array.isArray(value) && isDense(value)) {
      for (let i = 0; i < value.length; i++) this.look(value[i], i, place);
      return;
    }
    for (const name of Object.getOwnPropertyNames(value)) this.lookAtProperty(name, place);
    for (const symbol of Object.getOwnPropertySymbols(value)) this.lookAtProperty(symbol, place);
  }

  private lookAtMap(map: Map<unknown, unknown>, place: Place): void {
    let i = 0;
    for (const [key, value] of Map.prototype.entries.call(map)) {
      this.look(key, i, place, 'keys');
      this.look(value, i++, place, 'values');
    }
  }

  private lookAtSet(set: Set<unknown>, place: Place): void {
    let i = 0;
    for (const value of Set.prototype.values.call(set)) this.look(value, i++, place, 'values');
  }

  /** An accessor is not run. */
  private lookAtProperty(key: string | symbol, place: Place): void {
    const property = Object.getOwnPropertyDescriptor(place.value, key);
    if (property === undefined) return;
    if ('value' in property) this.look(property.value, isIndex(key) ? Number(key) : key, place);
    // The stack of an error is text, and in newer versions of Node an accessor.
    else if (!(key === 'stack' && isNativeError(place.value)))
      this.hide('an accessor', { value: place.value, key, above: place });
  }

  private hide(what: string, place: Place): void {
    let path = '';
    for (let at: Place | undefined = place; at !== undefined; at = at.above) path = `${stepTo(at)}${path}`;
    this.hidden = `${what} at ${path}`;
  }
}

function isIndex(key: string | symbol): boolean {
  return typeof key === 'string' && key === String(Number(key) >>> 0);
}

/** Longest array of which the names of all properties are listed, which takes much longer than a look at its elements. */
const LONGEST_LISTED = 10_000;

/**
 * Whether to search an array by its elements: it has no holes, which may be billions, and no other properties. A longer
 * array is searched by its elements whatever other properties it has.
 */
function isDense(list: readonly unknown[]): boolean {
  if (list.length > LONGEST_LISTED) {
    for (let i = 0; i < list.length; i++) if (list[i] === undefined && !(i in list)) return false;
    return true;
  }
  const names = Object.getOwnPropertyNames(list);
  // Indices come first.
  return (
    names[list.length] === 'length' &&
    names.length === list.length + 1 &&
    Object.getOwnPropertySymbols(list).length === 0
  );
}

/** One step of a path: "result", ".name", "[0]" or ".keys()[0]". */
function stepTo({ key, above, entries }: Place): string {
  if (above === undefined) return String(key);
  if (typeof key !== 'number') return `.${String(key)}`;
  return entries === undefined ? `[${key}]` : `.${entries}()[${key}]`;
}

/** Why an object cannot be looked into, in words. */
function describeHidden(value: object, openness: Openness): string {
  if (openness === 'private fields') return `the private fields of ${describeValue(value)}`;
  if (openness === 'native') return describeValue(value);
  const tag = Object.prototype.toString.call(value).slice('[object '.length, -1);
  return tag === 'Object' ? 'an object without a class' : `${/^[AEIOU]/.test(tag) ? 'an' : 'a'} ${tag}`;
}

type Openness = 'open' | 'private fields' | 'native' | 'no class';

/** By prototype. */
const known = new WeakMap<object, Openness>();

/** Classes of the language whose instances hold nothing beyond their entries and properties. */
const openClasses = new Set([
  'Object',
  'Array',
  'Map',
  'Set',
  'Date',
  'RegExp',
  'Boolean',
  'Number',
  'String',
  'Error',
]);
for (const name of [
  'AggregateError',
  'EvalError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'TypeError',
  'URIError',
])
  openClasses.add(name);

/** Reads a private field `#name`: as written, or as TypeScript, esbuild, Babel and SWC translate it for older engines. */
const privateRead = /\.\s*#[\p{ID_Start}$_]|\b_*(?:classPrivateFieldGet2?|privateGet|class_private_field_get)\b/u;

/** Whether the instances of a class show all that they hold, as the source of the class and of those it extends says. */
function opennessOf(prototype: object): Openness {
  let openness = known.get(prototype);
  if (openness === undefined) {
    openness = examine(prototype);
    known.set(prototype, openness);
  }
  return openness;
}

function examine(prototype: object): Openness {
  const constructed: unknown = Reflect.getOwnPropertyDescriptor(prototype, 'constructor')?.value;
  if (typeof constructed !== 'function' || constructed.prototype !== prototype) return 'no class';
  const source = Function.prototype.toString.call(constructed);
  if (/\{\s*\[native code\]\s*\}$/.test(source)) return openClasses.has(constructed.name) ? 'open' : 'native';
  if (privateRead.test(source)) return 'private fields';
  const above: object | null = Object.getPrototypeOf(prototype);
  return above === null || above === Object.prototype ? 'open' : opennessOf(above);
}
