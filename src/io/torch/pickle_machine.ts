// The stack and memo of the restricted unpickler. A pickle can only call the globals in the caller's table.
import { checkArgument, kind } from '../../arguments.ts';
import type { PickleInput } from './pickle_input.ts';

const tupleLength = kind('a whole number from 0 to 2^32 - 1', (v) => (v as number) >>> 0 === v);

/**
 * A Python tuple: an array that is written as a tuple again. Create one with `Tuple.of(1, 2)`.
 * @example
 * await writePth('betas.pth', Tuple.of(0.9, 0.999));
 * const betas = await readPth('betas.pth');
 * betas instanceof Tuple; // true
 * betas; // [0.9, 0.999]
 */
export class Tuple<T = unknown> extends Array<T> {
  /** Like Array's constructor: a single number is a length. */
  constructor(...items: T[]) {
    if (items.length === 1 && typeof items[0] === 'number') checkArgument('Tuple', 'length', items[0], tupleLength);
    super(...items);
  }
}

/** A global that a pickle may use: `make` implements a call of it, `build` sets the state of the object made. */
export class PickleGlobal {
  readonly name: string;
  readonly make?: (args: readonly unknown[]) => unknown;
  readonly build?: (made: unknown, state: unknown) => void;

  constructor(name: string, make?: PickleGlobal['make'], build?: PickleGlobal['build']) {
    this.name = name;
    this.make = make;
    this.build = build;
  }
}

export interface UnpickleOptions {
  /** The file's name in errors. */
  name: string;
  /** The globals that the pickle may use, by "module.name". */
  globals: ReadonlyMap<string, PickleGlobal>;
  /** Resolves a persistent id; without it such ids are refused. */
  persistent?: (id: unknown) => unknown;
}

// One byte of a pickle can allocate hundreds of bytes. Estimated bytes per object, and the limit for all of them.
const memory = { value: 16, memo: 40, item: 40, container: 200 };
const MAX_MEMORY = 2 ** 26;

export class PickleMachine {
  private readonly input: PickleInput;
  private readonly options: UnpickleOptions;
  private readonly memo = new Map<number | bigint, unknown>();
  private readonly makers = new Map<unknown, PickleGlobal>();
  private readonly outer: unknown[][] = [];
  private stack: unknown[] = [];
  private used = 0;

  constructor(input: PickleInput, options: UnpickleOptions) {
    this.input = input;
    this.options = options;
  }

  push(value: unknown): void {
    this.use(memory.value);
    this.stack.push(value);
  }

  top(): unknown {
    if (this.stack.length === 0) throw this.input.problem('pops from an empty stack');
    return this.stack[this.stack.length - 1];
  }

  pop(): unknown {
    const value = this.top();
    this.stack.pop();
    return value;
  }

  /** Like Python's POP, removes the last mark if there is no value above it. */
  popValueOrMark(): void {
    if (this.stack.length > 0) this.stack.pop();
    else this.popToMark();
  }

  mark(): void {
    this.use(memory.container);
    this.outer.push(this.stack);
    this.stack = [];
  }

  /** Removes the last mark and returns the values above it. */
  popToMark(): unknown[] {
    const values = this.stack;
    const before = this.outer.pop();
    if (!before) throw this.input.problem('has no mark');
    this.stack = before;
    return values;
  }

  /** Pushes a list, tuple, dictionary, byte array or object. */
  pushContainer(value: unknown): void {
    this.use(memory.container);
    this.stack.push(value);
  }

  pushTuple(length: number): void {
    const values = new Tuple();
    for (let i = 0; i < length; i++) values.push(this.pop());
    this.pushContainer(values.reverse());
  }

  append(values: readonly unknown[]): void {
    const list = this.top();
    if (!Array.isArray(list) || list instanceof Tuple)
      throw this.input.problem('appends to something other than a list');
    for (const value of values) list.push(value);
  }

  setItems(values: readonly unknown[]): void {
    const map = this.top();
    if (!(map instanceof Map)) throw this.input.problem('sets items of something other than a dictionary');
    if (values.length % 2) throw this.input.problem('sets a key without a value');
    this.use(memory.item * (values.length / 2));
    for (let i = 0; i < values.length; i += 2) map.set(this.key(values[i]), values[i + 1]);
  }

  get(index: number | bigint): void {
    if (!this.memo.has(index)) throw this.input.problem(`refers to the missing memo entry ${index}`);
    this.push(this.memo.get(index));
  }

  put(index: number | bigint): void {
    this.use(memory.memo);
    this.memo.set(index, this.top());
  }

  memoize(): void {
    this.put(this.memo.size);
  }

  /** @throws FileError unless the name is in the table */
  global(module: unknown, name: unknown): PickleGlobal {
    if (typeof module !== 'string' || typeof name !== 'string')
      throw this.input.problem('asks for a global whose name is not a string');
    const known = this.options.globals.get(`${module}.${name}`);
    if (!known) throw this.input.refusal(`${module}.${name}`.slice(0, 200));
    return known;
  }

  call(callee: unknown, args: unknown): void {
    if (!(callee instanceof PickleGlobal)) throw this.input.problem('calls something other than a global');
    if (!Array.isArray(args)) throw this.input.problem('calls with something other than arguments');
    if (!callee.make) throw this.input.refusal(`a call of ${callee.name}`);
    const made = callee.make(args);
    this.makers.set(made, callee);
    this.pushContainer(made);
  }

  build(state: unknown): void {
    const object = this.top();
    const maker = this.makers.get(object);
    if (!maker?.build) throw this.input.refusal(maker ? `a state for ${maker.name}` : 'a state for plain data');
    maker.build(object, state);
  }

  persistent(id: unknown): void {
    if (!this.options.persistent) throw this.input.refusal('a reference to data outside of it');
    this.pushContainer(this.options.persistent(id));
  }

  result(): unknown {
    const value = this.pop();
    if (this.stack.length > 0 || this.outer.length > 0) throw this.input.problem('leaves values on the stack');
    return value;
  }

  private key(value: unknown): string | number | bigint {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') return value;
    if (value instanceof Uint8Array) return Buffer.from(value).toString('latin1');
    throw this.input.refusal('a dictionary key that is neither text nor number');
  }

  private use(bytes: number): void {
    this.used += bytes;
    if (this.used > MAX_MEMORY) throw this.input.refusal('more small values than 64 MiB hold');
  }
}
