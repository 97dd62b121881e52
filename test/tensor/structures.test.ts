// cpu: in which structures scope() and keep() find tensors, and which ones they refuse by name
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, keep, mul, openDevice, openScope, scope, sum, type Tensor, tensor } from '../../src/index.ts';
import { Adam, MLP } from '../../src/nn/index.ts';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
  // The device takes memory of its own at the first op.
  scope(() => mul(tensor([1]), 2));
});

class Pair {
  readonly first: Tensor;
  protected second: Tensor;

  constructor(first: Tensor, second: Tensor) {
    this.first = first;
    this.second = second;
  }

  swapped(): Pair {
    return new Pair(this.second, this.first);
  }
}

class Named extends Pair {
  label = 'named';
}

class Bag extends Map<string, Tensor> {
  extra: Tensor | undefined;
}

class Sealed {
  #inner: Tensor;

  constructor(inner: Tensor) {
    this.#inner = inner;
  }

  get(): Tensor {
    return this.#inner;
  }
}

class SealedBelow extends Sealed {
  open = true;
}

/** What TypeScript, esbuild, Babel and SWC make of private fields for older engines. */
const translated = [
  new Function('__classPrivateFieldGet', 'return class Box { get() { return __classPrivateFieldGet(this, x); } }')(),
  new Function('__privateGet', 'return class Box { get() { return __privateGet(this, x); } }')(),
  new Function('return class Box { get() { return _classPrivateFieldGet2(x, this); } }')(),
  new Function('return class Box { get() { return _class_private_field_get._(this, x); } }')(),
];

const nested = (depth: number, t: Tensor): unknown => {
  let value: unknown = t;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { value };
  return value;
};

const symbol = Symbol('of a test');

/** By kind: a structure around a tensor a, and for those that hold two around b. */
const visible: Record<string, (a: Tensor, b: Tensor) => unknown> = {
  'a tensor': (a) => a,
  'an array': (a, b) => [a, undefined, 3, b],
  'an array with holes and a property': (a, b) => Object.assign(new Array(3).fill(a, 1, 2), { more: b }),
  'an array with a symbol': (a, b) => Object.assign([a], { [symbol]: b }),
  'an array with a hidden property': (a, b) => Object.defineProperty([a], 'b', { value: b }),
  '100,000 numbers and tensors': (a, b) => [...new Array(100_000).fill(0.5), a, b],
  'an array with billions of holes': (a, b) => {
    const list: Tensor[] = [a];
    list[2 ** 32 - 2] = b;
    return list;
  },
  'a plain object': (a, b) => ({ a, deeper: { b, text: 'x', none: null } }),
  'an object without prototype': (a) => Object.assign(Object.create(null), { a }),
  'a symbol and a hidden property': (a, b) => Object.defineProperty({ [symbol]: a }, 'b', { value: b }),
  'the values of a Map': (a, b) =>
    new Map([
      [1, a],
      [2, b],
    ]),
  'the keys of a Map': (a, b) =>
    new Map([
      [a, 1],
      [b, 2],
    ]),
  'a Set': (a, b) => new Set([a, b]),
  'a Set of Maps of arrays': (a, b) => new Set([new Map([['x', [a]]]), new Map([['y', [b]]])]),
  'an instance of a class': (a, b) => new Pair(a, b),
  'an instance of a class that extends another': (a, b) => new Named(a, b),
  'a subclass of Map with a field': (a, b) => Object.assign(new Bag([['a', a]]), { extra: b }),
  'a subclass of Array': (a, b) => class extends Array<Tensor> {}.of(a, b),
  'an error': (a, b) => new TypeError('with tensors', { cause: Object.assign(new Error('inner'), { a, b }) }),
  'typed arrays next to a tensor': (a) => [
    new Float32Array(4),
    new ArrayBuffer(2),
    new DataView(new ArrayBuffer(2)),
    a,
  ],
  'a date, a regular expression, a device': (a) => [new Date(0), /x/, device, a],
  '9 levels': (a) => nested(9, a),
  '100,000 levels': (a) => nested(100_000, a),
  'a circle': (a, b) => {
    const circle: Record<string, unknown> = { a };
    circle.self = [circle, { b }];
    return circle;
  },
  'the same tensor twice': (a) => [a, { a }],
};

const array = (value: Tensor) => [value][Symbol.iterator]();

/** By what is refused: a structure that hides a tensor. */
const hidden: Record<string, (t: Tensor) => unknown> = {
  'a function at result': (t) => () => t,
  'a function at result.get': (t) => ({ get: () => t }),
  'a function at result[1].list[0]': (t) => [0, { list: [() => t] }],
  'a function at result[4000000000]': (t) => {
    const list: (() => Tensor)[] = [];
    list[4e9] = () => t;
    return list;
  },
  'an accessor at result.now': (t) => ({
    get now() {
      return t;
    },
  }),
  'a Promise at result.later': (t) => ({ later: Promise.resolve(t) }),
  'an instance of WeakMap at result.kept': (t) => ({ kept: new WeakMap([[t, t]]) }),
  'an instance of WeakSet at result.kept': (t) => ({ kept: new WeakSet([t]) }),
  'an instance of WeakRef at result.kept': (t) => ({ kept: new WeakRef(t) }),
  'a Generator at result.pieces': (t) => ({
    pieces: (function* () {
      yield t;
    })(),
  }),
  'an AsyncGenerator at result.pieces': (t) => ({
    pieces: (async function* () {
      yield t;
    })(),
  }),
  'an Array Iterator at result.pieces': (t) => ({ pieces: array(t) }),
  'a Map Iterator at result.pieces': (t) => ({ pieces: new Map([[1, t]]).values() }),
  'a Proxy at result': (t) => new Proxy({}, { get: () => t }),
  'the private fields of an instance of Sealed at result.box': (t) => ({ box: new Sealed(t) }),
  'the private fields of an instance of SealedBelow at result.box': (t) => ({ box: new SealedBelow(t) }),
  'a function at result.values()[0]': (t) => new Map([['x', () => t]]),
  'a function at result.keys()[0]': (t) => new Map([[() => t, 'x']]),
  'a function at result.values()[1]': (t) => new Set([1, () => t]),
  'an object without a class at result': (t) => Object.create({ t }),
};

const live = () => device.memory().live;

describe('scope() keeps tensors in', () => {
  it.each(Object.keys(visible))('%s', (kind) => {
    const before = live();
    let [a, b, lost] = [] as Tensor[];
    const result = scope(() => {
      a = tensor([1]);
      b = tensor([2]);
      lost = mul(a, b);
      return visible[kind](a, b);
    });
    const holdsBoth = /\bb\b/.test(String(visible[kind]).split('=>')[0]);
    expect([a.disposed, b.disposed, lost.disposed]).toEqual([false, !holdsBoth, true]);
    a.dispose();
    b.dispose();
    expect(result).toBeDefined();
    expect(live()).toBe(before);
  });

  it.each(Object.keys(visible))('a scope that was opened by hand and closed with %s', (kind) => {
    const before = live();
    const outer = openScope();
    const inner = outer.run(() => openScope());
    const [a, b] = inner.run(() => [tensor([1]), tensor([2])]);
    inner.close(visible[kind](a, b));
    expect(a.disposed).toBe(false);
    // They are the enclosing scope's now.
    outer.close();
    expect([a.disposed, b.disposed]).toEqual([true, true]);
    expect(live()).toBe(before);
  });

  it.each(Object.keys(visible))('keep() takes tensors out of scopes in %s', (kind) => {
    let a: Tensor | undefined;
    scope(() => {
      a = tensor([1]);
      keep(visible[kind](a, tensor([2])));
    });
    expect(a?.disposed).toBe(false);
    a?.dispose();
  });
});

describe('scope() refuses', () => {
  it.each(Object.keys(hidden))('%s', (what) => {
    const before = live();
    const refusal =
      '[scope] expected a result with tensors in arrays, plain objects, Maps, Sets and properties of class instances alone, ' +
      `got ${what}, which may hide tensors`;
    expect(() => scope(() => hidden[what](tensor([1])))).toThrow(new ArgumentError('scope', ...partsOf(refusal)));
    expect(live()).toBe(before);
  });

  it.each(Object.keys(hidden))('%s, by hand', (what) => {
    const before = live();
    const work = openScope();
    const t = work.run(() => tensor([1]));
    expect(() => work.close(hidden[what](t))).toThrow(`got ${what}, which may hide tensors`);
    expect(t.disposed).toBe(true);
    expect(live()).toBe(before);
  });

  it.each(Object.keys(hidden))('%s, as keep() does', (what) => {
    using t = tensor([1]);
    expect(() => keep(hidden[what](t))).toThrow(
      `[keep] expected a value with tensors in arrays, plain objects, Maps, Sets and properties of class instances alone, ` +
        `got ${what.replace('result', 'value')}, which may hide tensors`,
    );
  });

  it.each(translated)('private fields as compilers translate them: %s', (Translated) => {
    expect(() => scope(() => [tensor([1]).size, new Translated()])).toThrow(
      /got the private fields of an instance of Box at result\[1\]/,
    );
  });

  it('a Promise as the result, whatever was made', () => {
    expect(() => scope(async () => 1)).toThrow(/^\[scope\] expected a synchronous function .*returns a Promise$/);
  });
});

describe('scope() takes what it cannot look into', () => {
  it('where it has nothing to free that could be hidden', () => {
    using a = tensor([3]);
    expect(scope(() => () => a.item())()).toBe(3);
    const { t, get } = scope(() => {
      const made = tensor([4]);
      return { t: made, get: () => made.item() };
    });
    expect(get()).toBe(4);
    t.dispose();
    const kept = scope(() => {
      const made = keep(tensor([5]));
      return () => made;
    });
    expect(kept().item()).toBe(5);
    kept().dispose();
  });

  it('returns the handle of an update, with the tensors of the step to free', () => {
    using network = new MLP([2, 3, 1]);
    const optimizer = new Adam(network);
    const loss = scope(() => optimizer.minimize(() => sum(network.forward(mul(tensor([[1, 2]]), 2)))));
    expect(Number.isFinite(loss.item())).toBe(true);
    optimizer.dispose();
  });

  it('such as a module, whose parameters are its own', () => {
    using network = scope(() => new MLP([2, 3, 1]));
    expect([...network.namedTensors()].map(([, parameter]) => parameter.disposed)).toEqual([
      false,
      false,
      false,
      false,
    ]);
  });
});

/** What an ArgumentError is made of. */
function partsOf(message: string): [expected: string, got: string] {
  const [, expected, got] = /^\[scope\] expected (.*), got (.*)$/.exec(message) as unknown as [string, string, string];
  return [expected, got];
}
