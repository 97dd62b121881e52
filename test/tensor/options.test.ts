// Options and extra arguments that callers pass to the engine: nothing is silently ignored.
import { expect, it } from 'vitest';
import * as data from '../../src/data/index.ts';
import { ArgumentError } from '../../src/errors.ts';
import * as evaluation from '../../src/eval/index.ts';
import * as flow from '../../src/flow/index.ts';
import * as engine from '../../src/index.ts';
import * as io from '../../src/io/index.ts';
import * as nn from '../../src/nn/index.ts';
import * as plane from '../../src/plane/index.ts';

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
  ['an undefined option next to another one', { axis: 0, axes: undefined }],
];

it.each(taken)('options may be %s', (_, options) => {
  expect(engine.sum(x(), options).shape).toEqual([2]);
});

const all = 'options { axes, axis, keepDims }';
const among = 'options among axes, axis, keepDims';

const refused: [title: string, options: unknown, message: string][] = [
  ['a Map', new Map([['axis', 0]]), `${all}, got an instance of Map`],
  ['a Set', new Set([0]), `${all}, got an instance of Set`],
  ['a Date', new Date(0), `${all}, got an instance of Date`],
  ['a Promise', Promise.resolve({ axis: 0 }), `${all}, got a Promise`],
  ['an Error', new Error('axis'), `${all}, got an instance of Error`],
  ['a Number object', new Number(0), `${all}, got an instance of Number`],
  ['an array', [0], `${all}, got [0]`],
  ['a tensor', x(), `${among}, got "label" of an instance of Tensor`],
  ['a hidden property of another name', Object.defineProperty({}, 'dim', { value: 0 }), `${among}, got "dim"`],
  ['an inherited option of another name', Object.create({ dim: 0 }), `${among}, got "dim"`],
  [
    'an accessor of another name',
    new Misspelt(),
    `${among}, got "axs" of an instance of Misspelt (did you mean "axes"?)`,
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

it('accepts a class method as the option of the same name', () => {
  const times: number[] = [];
  class Euler {
    readonly solver = 'euler';
    readonly steps = 2;
    onStep({ t }: { t: number }): void {
      times.push(t);
    }
  }
  flow.solveFixed((at) => engine.mul(at, 1), x(), new Euler());
  expect(times).toHaveLength(2);
});

it('does not describe a tensor of this copy as one of another copy', () => {
  expect(() => engine.concat(x() as never, 0)).toThrow('[concat] expected a list of tensors, got tensor f32 [2, 2]');
  expect(() => engine.checkpoint((h) => h, x() as never)).toThrow('a list of input tensors, got tensor f32 [2, 2]');
});

it.each([0, 1, 'no', {}, null])('requiresGrad may not be %j', (value) => {
  const message = '[requireGrad] expected true or false, got ';
  expect(() => x().requireGrad(value as never)).toThrow(message);
  expect(() => Object.assign(x(), { requiresGrad: value })).toThrow(message);
});

const index = () => engine.tensor([0, 1], { dtype: 'i32', device });
const images = () => engine.zeros([1, 4, 4, 2], { device });

/** Extra arguments that other libraries accept after those of our function. */
const extra: [op: string, call: (...more: unknown[]) => unknown, more: unknown[]][] = [
  ['relu', bound(engine.relu, x), [undefined, { inplace: true }]],
  ['relu', bound(engine.relu, x), [undefined, undefined, 1]],
  ['where', bound(engine.where, () => engine.greater(x(), 0), x, x), [0]],
  ['cast', bound(engine.cast, x, 'i32'), [{ copy: true }]],
  ['reshape', bound(engine.reshape, x, [4]), [{ order: 'F' }]],
  ['permute', bound(engine.permute, x, [1, 0]), [0]],
  [
    'pad',
    bound(
      engine.pad,
      x,
      [
        [1, 1],
        [0, 0],
      ],
      0,
    ),
    ['reflect'],
  ],
  ['slice', bound(engine.slice, x, [0, 0], [2, 2]), [{ steps: [1, 1] }, [2, 2]]],
  ['stack', bound(engine.stack, () => [x(), x()], 0), [{ out: null }]],
  ['squeeze', bound(engine.squeeze, x, {}), [0]],
  ['unsqueeze', bound(engine.unsqueeze, x, 0), [0]],
  ['flatten', bound(engine.flatten, x, {}), [1]],
  ['unflatten', bound(engine.unflatten, x, 0, [2, 1]), [1]],
  ['moveAxis', bound(engine.moveAxis, x, 0, 1), [1]],
  ['swapAxes', bound(engine.swapAxes, x, 0, 1), [1]],
  ['flip', bound(engine.flip, x, {}), [1]],
  ['roll', bound(engine.roll, x, 1, {}), [1]],
  ['select', bound(engine.select, x, 1, {}), [1]],
  ['chunk', bound(engine.chunk, x, 2, 0), [1]],
  ['tile', bound(engine.tile, x, 2), [2]],
  ['repeatInterleave', bound(engine.repeatInterleave, x, 2, {}), [{ outputSize: 4 }]],
  ['meshgrid', bound(engine.meshgrid, () => [engine.zeros([2], { device })], {}), [{ sparse: true }]],
  ['clone', bound(engine.clone, x), [{ memoryFormat: 1 }]],
  ['detach', bound(engine.detach, x), [true]],
  ['tril', bound(engine.tril, x, {}), [1]],
  ['triu', bound(engine.triu, x, {}), [1]],
  ['diag', bound(engine.diag, x, {}), [1]],
  ['diagonal', bound(engine.diagonal, x, {}), [1]],
  ['diagEmbed', bound(engine.diagEmbed, x, {}), [1]],
  ['trace', bound(engine.trace, x, {}), [1]],
  ['unfold', bound(engine.unfold, images, { kernel: 2 }), [1]],
  ['pixelUnshuffle', bound(engine.pixelUnshuffle, images, 2), [2]],
  ['concat', bound(engine.concat, () => [x(), x()], 0), [{ out: null }]],
  ['split', bound(engine.split, x, 2, 0), [1]],
  ['broadcastTo', bound(engine.broadcastTo, x, [2, 2]), [{ subok: true }]],
  ['gather', bound(engine.gather, x, index), [1]],
  ['gather', bound(engine.gather, x, index), [{ axis: 1 }]],
  ['oneHot', bound(engine.oneHot, index, 3), [{ onValue: 2 }]],
  ['upsampleNearest', bound(engine.upsampleNearest, images, 2), [{ mode: 'bilinear' }]],
  ['downsampleMean', bound(engine.downsampleMean, images, 2), [2]],
  ['resizeBilinear', bound(engine.resizeBilinear, images, [2, 2]), [{ alignCorners: true }]],
  ['firUpsample', bound(engine.firUpsample, images, [1, 1], 0), [{ gain: 2 }]],
  ['firDownsample', bound(engine.firDownsample, images, [1, 1]), [2]],
  [
    'checkpoint',
    bound(
      engine.checkpoint,
      () => (h: engine.Tensor) => h,
      () => [x()],
    ),
    [{ use_reentrant: false }],
  ],
];

/** The function bound to these arguments; arguments that are functions are evaluated at the call. */
function bound(f: (...values: never[]) => unknown, ...values: unknown[]): (...more: unknown[]) => unknown {
  return (...more) =>
    (f as (...v: unknown[]) => unknown)(...values.map((v) => (typeof v === 'function' ? v() : v)), ...more);
}

it.each(extra)('%s refuses arguments that it does not take', (op, call, more) => {
  expect(() => call(...more)).toThrow(`[${op}] expected no further argument, got `);
  expect(call).not.toThrow();
});

it('ops work as callbacks of map and reduce', () => {
  const xs = [x(), x(), x()];
  expect(xs.map(engine.relu)).toHaveLength(3);
  expect(xs.map(engine.transpose)).toHaveLength(3);
  expect(xs.reduce(engine.add).shape).toEqual([2, 2]);
});

it.each<[name: string, call: () => unknown]>([
  ['loadDigits', bound(data.loadDigits, 'train')],
  ['digitsDataset', bound(data.digitsDataset, 'train', 'whole', { shuffle: true })],
  ['loadMnist', bound(data.loadMnist, 'folder', 'train', { download: true })],
  ['loadCifar10', bound(data.loadCifar10, 'folder', 'train', { download: true })],
  ['samplePoints', bound(data.samplePoints, 'two_moons', 2, 0, { noise: 0.1 })],
  ['readPth', bound(io.readPth, 'x.pth', { weights_only: true })],
  ['writePth', bound(io.writePth, 'x.pth', 1, { pickle_protocol: 2 })],
  ['encodeNpy', bound(io.encodeNpy, {}, 'F')],
  ['readNpy', bound(io.readNpy, 'x.npy', { mmap_mode: 'r' })],
  ['writeNpy', bound(io.writeNpy, 'x.npy', {}, { allow_pickle: false })],
  ['energyDistance', bound(flow.energyDistance, [1], [1], 1, { beta: 1 })],
  ['countCrossings', bound(flow.countCrossings, [0, 0], [1, 1], 2)],
  ['drawPlane', bound(plane.drawPlane, 'triangle', 'from', 2, 0, 0, { noise: 1 })],
  ['interpolate', bound(flow.interpolate, x, x, x, { clip: true })],
  ['gaussianOf', bound(evaluation.gaussianOf, {}, { ddof: 0 })],
  ['activate', bound(nn.activate, x, 'relu', { inplace: true })],
])('%s refuses arguments that it does not take', async (name, call) => {
  await expect((async () => call())()).rejects.toThrow(`[${name}] expected no further argument, got `);
});
