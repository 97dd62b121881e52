// What callers hand to the engine as options, and beside them: nothing is ignored in silence.
import { expect, it } from 'vitest';
import { ArgumentError } from '../../src/errors.ts';
import { solveFixed } from '../../src/flow/index.ts';
import * as engine from '../../src/index.ts';

const device = await engine.openDevice('cpu');
const x = () => engine.tensor([1, 2, 3, 4], { shape: [2, 2], device });

class Named {
  readonly axis = 0;
  toString(): string {
    return 'named';
  }
}

class Computed {
  get axis(): number {
    return 0;
  }
}

class Misspelt {
  get axs(): number {
    return 0;
  }
}

const taken: [title: string, options: object][] = [
  ['a frozen object', Object.freeze({ axis: 0 })],
  ['an object without a prototype', Object.assign(Object.create(null), { axis: 0 })],
  ['an object that inherits them', Object.create({ axis: 0 })],
  ['a hidden property', Object.defineProperty({}, 'axis', { value: 0 })],
  ['fields of a class with methods', new Named()],
  ['accessors of a class', new Computed()],
  ['an option that is undefined beside another', { axis: 0, axes: undefined }],
];

it.each(taken)('options may be %s', (_, options) => {
  expect(engine.sum(x(), options).shape).toEqual([2]);
});

const all = 'options { axes, axis, keepDims }';
const among = 'options among axes, axis, keepDims';

const refused: [title: string, options: unknown, message: string][] = [
  ['a Map', new Map([['axis', 0]]), `${all}, got an object of Map`],
  ['a Set', new Set([0]), `${all}, got an object of Set`],
  ['a Date', new Date(0), `${all}, got an object of Date`],
  ['a Promise', Promise.resolve({ axis: 0 }), `${all}, got a Promise`],
  ['an Error', new Error('axis'), `${all}, got an object of Error`],
  ['a Number object', new Number(0), `${all}, got an object of Number`],
  ['an array', [0], `${all}, got [0]`],
  ['a tensor', x(), `${among}, got "label" of an object of Tensor`],
  ['a hidden property of another name', Object.defineProperty({}, 'dim', { value: 0 }), `${among}, got "dim"`],
  ['an inherited option of another name', Object.create({ dim: 0 }), `${among}, got "dim"`],
  [
    'an accessor of another name',
    new Misspelt(),
    `${among}, got "axs" of an object of Misspelt (did you mean "axes"?)`,
  ],
  ['another name with undefined', { dim: undefined }, `${among}, got "dim"`],
];

it.each(refused)('options may not be %s', (_, options, message) => {
  expect(() => engine.sum(x(), options as object)).toThrow(new ArgumentError('sum', ...halves(message)));
});

function halves(message: string): [expected: string, got: string] {
  const at = message.indexOf(', got ');
  return [message.slice(0, at), message.slice(at + ', got '.length)];
}

it('a method of a class is an option where one has that name', () => {
  const times: number[] = [];
  class Euler {
    readonly solver = 'euler';
    readonly steps = 2;
    onStep({ t }: { t: number }): void {
      times.push(t);
    }
  }
  solveFixed((at) => engine.mul(at, 1), x(), new Euler());
  expect(times).toHaveLength(2);
});

it('a tensor of this copy is not called one of another', () => {
  expect(() => engine.concat(x() as never, 0)).toThrow('[concat] expected a list of tensors, got tensor f32 [2, 2]');
  expect(() => engine.checkpoint((h) => h, x() as never)).toThrow('a list of input tensors, got tensor f32 [2, 2]');
});

it.each([0, 1, 'no', {}, null])('requiresGrad may not be %j', (value) => {
  const message = '[requireGrad] expected true or false, got ';
  expect(() => x().requireGrad(value as never)).toThrow(message);
  expect(() => Object.assign(x(), { requiresGrad: value })).toThrow(message);
});
