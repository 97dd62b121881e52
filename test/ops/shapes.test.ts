/**
 * What the functions that change shapes do beyond their cases: dtypes, shared memory, special values, gradients that
 * stop, and what they refuse. Expected numbers were compared with NumPy 2 and PyTorch 2.13.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { jvp } from '../../src/autograd/forward.ts';
import type { Device } from '../../src/device/device.ts';
import { ArgumentError, ShapeError, ValueError } from '../../src/errors.ts';
import * as engine from '../../src/index.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const { scope, slice, tensor, zeros } = engine;
type Tensor = engine.Tensor;
type Dtype = 'f32' | 'i32' | 'u8' | 'bool';

const list = (t: Tensor) => Array.from(t.dataSync());

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  /** 0, 1, 2, ... in a shape. */
  const counted = (shape: number[], dtype: Dtype = 'f32') => {
    const size = shape.reduce((a, b) => a * b, 1);
    return tensor(
      Array.from({ length: size }, (_, i) => i),
      { shape, dtype, device },
    );
  };
  const given = (values: number[]) => tensor(values, { device });

  test.each(['f32', 'i32', 'u8'] as const)('elements of %s move unchanged', (dtype) => {
    scope(() => {
      const x = counted([2, 3], dtype);
      for (const [y, values] of [
        [engine.flip(x, { axes: 1 }), [2, 1, 0, 5, 4, 3]],
        [engine.flip(x), [5, 4, 3, 2, 1, 0]],
        [slice(x, [0, null], [null, null], { steps: [1, -2] }), [2, 0, 5, 3]],
        [engine.roll(x, 1), [5, 0, 1, 2, 3, 4]],
        [engine.roll(x, 1, { axes: 1 }), [2, 0, 1, 5, 3, 4]],
        [engine.roll(x, 1, { axes: [0, 1] }), [5, 3, 4, 2, 0, 1]],
        [engine.stack([x, x], -1), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]],
        [engine.select(x, -1, { axis: 1 }), [2, 5]],
        [engine.tile(x, [1, 2]), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]],
        [engine.repeatInterleave(x, 2, { axis: 0 }), [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]],
        [engine.swapAxes(x, 0, 1), [0, 3, 1, 4, 2, 5]],
        [engine.tril(x), [0, 0, 0, 3, 4, 0]],
        [engine.triu(x, { offset: 1 }), [0, 1, 2, 0, 0, 5]],
        [engine.diagonal(x, { offset: 1 }), [1, 5]],
        [engine.diag(engine.select(x, 1), { offset: -1 }), [0, 0, 0, 0, 3, 0, 0, 0, 0, 4, 0, 0, 0, 0, 5, 0]],
        [engine.clone(x), [0, 1, 2, 3, 4, 5]],
      ] as const) {
        expect(list(y)).toEqual(values);
        expect(y.dtype).toBe(dtype);
      }
      const [a, b] = engine.meshgrid([counted([2], dtype), counted([3], dtype)]);
      expect([a.shape, list(a), list(b)]).toEqual([
        [3, 2],
        [0, 1, 0, 1, 0, 1],
        [0, 0, 1, 1, 2, 2],
      ]);
    });
  });

  test('bytes of bool and pairs of bytes of bf16 move too', () => {
    scope(() => {
      const mask = tensor([true, false, false] as never, { dtype: 'bool', device });
      expect(list(engine.flip(mask))).toEqual([0, 0, 1]);
      const half = engine.cast(counted([3, 3]), 'bf16');
      expect(list(engine.cast(engine.flip(half, { axes: 0 }), 'f32'))).toEqual([6, 7, 8, 3, 4, 5, 0, 1, 2]);
      expect(list(engine.cast(engine.triu(half), 'f32'))).toEqual([0, 1, 2, 0, 4, 5, 0, 0, 8]);
      expect(list(engine.cast(engine.diagonal(half), 'f32'))).toEqual([0, 4, 8]);
    });
  });

  test('triangles replace NaN and infinity by 0', () => {
    scope(() => {
      const x = tensor([Number.NaN, Number.NaN, Number.POSITIVE_INFINITY, -0], { shape: [2, 2], device });
      expect(list(engine.tril(x))).toEqual([Number.NaN, 0, Number.POSITIVE_INFINITY, -0]);
      expect(list(engine.triu(x))).toEqual([Number.NaN, Number.NaN, 0, -0]);
    });
  });

  test('views share the memory of x, and a clone has its own', () => {
    scope(() => {
      const x = counted([1, 2, 3]);
      const views = [
        engine.squeeze(x),
        engine.unsqueeze(x, 0),
        engine.flatten(x),
        engine.unflatten(x, 2, [3, 1]),
        engine.select(x, 0),
        engine.flip(x, { axes: 0 }),
        engine.moveAxis(x, 0, 1),
        engine.swapAxes(x, 0, 1),
        engine.roll(x, [0, 3], { axes: [1, 2] }),
        engine.detach(x),
      ];
      const copy = engine.clone(x);
      x.write(new Float32Array(6).fill(7));
      for (const y of views) expect(list(y)).toEqual([7, 7, 7, 7, 7, 7]);
      expect(list(copy)).toEqual([0, 1, 2, 3, 4, 5]);
    });
  });

  test('no gradient and no tangent pass through detach, and both pass through clone', () => {
    scope(() => {
      const x = tensor([1, 2], { device, requiresGrad: true });
      const y = engine.mul(x, engine.detach(engine.exp(x)));
      const [dx] = engine.gradients(engine.sum(y), [x]);
      expect(list(dx)).toEqual(list(engine.exp(x)));
      expect(engine.detach(x).requiresGrad).toBe(false);
      const one = engine.ones([2], { device });
      const [, dy] = jvp((t) => engine.mul(t, engine.detach(t)), [given([3, 4])], [one]);
      expect(list(dy)).toEqual([3, 4]);
      const [, copied] = jvp((t) => engine.clone(t), [given([3, 4])], [one]);
      expect(list(copied)).toEqual([1, 1]);
      expect(list(engine.gradients(engine.sum(engine.square(engine.clone(x))), [x])[0])).toEqual([2, 4]);
    });
  });

  test('the straight-through estimator has the value of one function and the gradient of another', () => {
    scope(() => {
      const x = tensor([-0.5, 2], { device, requiresGrad: true });
      const step = engine.where(engine.greater(x, 0), 1, 0);
      const y = engine.add(x, engine.detach(engine.sub(step, x)));
      expect(list(y)).toEqual([0, 1]);
      expect(list(engine.gradients(engine.sum(y), [x])[0])).toEqual([1, 1]);
    });
  });

  test('slice with steps selects what Python selects', () => {
    scope(() => {
      const x = counted([7]);
      const python: [start: number | null, end: number | null, step: number, values: number[]][] = [
        [null, null, 2, [0, 2, 4, 6]],
        [-3, null, 1, [4, 5, 6]],
        [1, -1, 3, [1, 4]],
        [null, null, -1, [6, 5, 4, 3, 2, 1, 0]],
        [-2, 1, -2, [5, 3]],
        [4, null, -3, [4, 1]],
        [0, null, -1, [0]],
        [7, 7, 1, []],
      ];
      for (const [start, end, step, values] of python)
        expect(list(slice(x, [start], [end], { steps: [step] })), `${start}:${end}:${step}`).toEqual(values);
      expect(list(slice(x, [undefined], [-4]))).toEqual([0, 1, 2]);
      expect(slice(zeros([0, 2], { device }), [null, 0], [null, 2], { steps: [-1, 1] }).shape).toEqual([0, 2]);
    });
  });

  test('-0 counts as 0 in a shape', () => {
    scope(() => {
      const x = counted([2, 3]);
      const shapes = [zeros([-0, 2], { device }), engine.tile(x, [-0, 1]), engine.repeatInterleave(x, -0, { axis: 0 })];
      for (const { shape } of shapes) expect(Object.is(shape[0], 0)).toBe(true);
    });
  });

  test('a slice without steps is a view when only the first axis is cut', () => {
    scope(() => {
      const x = counted([3, 2]);
      const y = slice(x, [-2, null], [null, null]);
      x.write(Float32Array.of(9, 9, 9, 9, 9, 9));
      expect(list(y)).toEqual([9, 9, 9, 9]);
    });
  });

  const refused: [
    call: string,
    run: (x: Tensor) => unknown,
    kind: new (...values: never[]) => Error,
    message: string,
  ][] = [
    [
      'slice beyond',
      (x) => slice(x, [0, 0], [2, 4]),
      ShapeError,
      '[slice] expected starts <= ends within [2, 3], got [0, 0] to [2, 4]',
    ],
    ['slice too negative', (x) => slice(x, [-3, 0], [2, 3]), ShapeError, 'got [-3, 0] to [2, 3]'],
    ['slice reversed', (x) => slice(x, [0, 2], [2, 1]), ShapeError, 'got [0, 2] to [2, 1]'],
    [
      'slice reversed with a negative step',
      (x) => slice(x, [0, 0], [2, 1], { steps: [1, -1] }),
      ShapeError,
      'within [2, 3], ends <= starts for negative steps, got [0, 0] to [2, 1] in steps of [1, -1]',
    ],
    [
      'slice to the place after the last with a negative step',
      (x) => slice(x, [0, 3], [null, null], { steps: [1, -1] }),
      ShapeError,
      'got [0, 3] to [null, null]',
    ],
    [
      'slice by 0',
      (x) => slice(x, [0, 0], [2, 3], { steps: [1, 0] }),
      ValueError,
      '[slice] expected steps other than 0, got [1, 0]',
    ],
    ['slice with too few bounds', (x) => slice(x, [0], [2]), ShapeError, 'got [0] to [2]'],
    ['slice with too few steps', (x) => slice(x, [0, 0], [2, 3], { steps: [1] }), ShapeError, 'in steps of [1]'],
    [
      'slice by halves',
      (x) => slice(x, [0, 0.5], [2, 3]),
      ArgumentError,
      '[slice] expected starts to be a list of whole numbers or null, got [0, 0.5]',
    ],
    [
      'slice with steps in a list',
      (x) => slice(x, [0, 0], [2, 3], [1, 1] as never),
      ArgumentError,
      '[slice] expected options { steps }, got [1, 1]',
    ],
    [
      'stack of nothing',
      () => engine.stack([]),
      ArgumentError,
      '[stack] expected a list of at least one tensor, got an empty list',
    ],
    [
      'stack of a tensor',
      (x) => engine.stack(x as never),
      ArgumentError,
      '[stack] expected a list of tensors, got tensor f32 [2, 3]',
    ],
    [
      'stack of two shapes',
      (x) => engine.stack([x, engine.transpose(x)]),
      ShapeError,
      '[stack] expected tensors of one shape, got [2, 3] and [3, 2]',
    ],
    ['stack along a far axis', (x) => engine.stack([x, x], 3), ShapeError, '[stack] expected distinct axes'],
    [
      'squeeze of a wide axis',
      (x) => engine.squeeze(x, { axes: 1 }),
      ShapeError,
      '[squeeze] expected axes of extent 1 in [2, 3], got axes [1]',
    ],
    [
      'squeeze with both names',
      (x) => engine.squeeze(x, { axes: 0, axis: 0 }),
      ArgumentError,
      '[squeeze] expected axes or axis, got both',
    ],
    [
      'unsqueeze twice at one place',
      (x) => engine.unsqueeze(x, [0, -4]),
      ShapeError,
      '[unsqueeze] expected distinct axes',
    ],
    ['unsqueeze beyond', (x) => engine.unsqueeze(x, 3), ShapeError, '[unsqueeze] expected distinct axes'],
    [
      'flatten backwards',
      (x) => engine.flatten(x, { start: 1, end: 0 }),
      ShapeError,
      '[flatten] expected start <= end in [2, 3]',
    ],
    [
      'unflatten into another size',
      (x) => engine.unflatten(x, 1, [2, 2]),
      ShapeError,
      '[unflatten] expected sizes whose product is 3 for axis 1 of [2, 3], got [2, 2]',
    ],
    ['unflatten with two unknowns', (x) => engine.unflatten(x, 1, [-1, -1]), ShapeError, 'got [-1, -1]'],
    [
      'moveAxis of two to one',
      (x) => engine.moveAxis(x, [0, 1], 0),
      ArgumentError,
      '[moveAxis] expected as many destinations as sources, got 1 for 2',
    ],
    [
      'moveAxis of one axis twice',
      (x) => engine.moveAxis(x, [0, -2], [0, 1]),
      ShapeError,
      '[moveAxis] expected distinct axes',
    ],
    ['swapAxes beyond', (x) => engine.swapAxes(x, 0, 2), ShapeError, '[swapAxes] expected distinct axes'],
    ['flip beyond', (x) => engine.flip(x, { axes: [0, 2] }), ShapeError, '[flip] expected distinct axes'],
    [
      'roll of two shifts along one axis',
      (x) => engine.roll(x, [1, 2], { axes: 0 }),
      ArgumentError,
      '[roll] expected a shift for each axis, got 2 shifts for 1 axes',
    ],
    [
      'roll by a half',
      (x) => engine.roll(x, 0.5),
      ArgumentError,
      '[roll] expected shifts to be a list of whole numbers, got [0.5]',
    ],
    [
      'select beyond',
      (x) => engine.select(x, 2),
      ShapeError,
      '[select] expected an index within axis 0 of [2, 3], got 2',
    ],
    ['select before', (x) => engine.select(x, -4, { axis: 1 }), ShapeError, 'within axis 1 of [2, 3], got -4'],
    [
      'chunk into none',
      (x) => engine.chunk(x, 0, 0),
      ArgumentError,
      '[chunk] expected count to be a whole number >= 1, got 0',
    ],
    [
      'tile a negative number of times',
      (x) => engine.tile(x, [1, -1]),
      ArgumentError,
      '[tile] expected repeats to be a whole number >= 0, got -1',
    ],
    ['tile beyond memory', (x) => engine.tile(x, 2 ** 30), ShapeError, '[tile] expected'],
    [
      'repeatInterleave by a half',
      (x) => engine.repeatInterleave(x, 1.5),
      ArgumentError,
      '[repeatInterleave] expected repeats to be a whole number >= 0, got 1.5',
    ],
    [
      'meshgrid of matrices',
      (x) => engine.meshgrid([x]),
      ShapeError,
      '[meshgrid] expected vectors [A], [B], ..., got [2, 3]',
    ],
    [
      'meshgrid of an unknown order',
      (x) => engine.meshgrid([engine.flatten(x)], { indexing: 'yx' as never }),
      ArgumentError,
      '[meshgrid] expected indexing to be one of "xy", "ij", got "yx"',
    ],
    [
      'pixelShuffle of matrices',
      (x) => engine.pixelShuffle(x, 2),
      ShapeError,
      '[pixelShuffle] expected images [N, H, W, C], got [2, 3]',
    ],
    [
      'pixelShuffle of 3 channels',
      (x) => engine.pixelShuffle(engine.reshape(x, [1, 1, 2, 3]), 2),
      ShapeError,
      '[pixelShuffle] expected channels that 4 divides, got [1, 1, 2, 3]',
    ],
    [
      'pixelUnshuffle of 3 columns',
      (x) => engine.pixelUnshuffle(engine.reshape(x, [1, 2, 3, 1]), 2),
      ShapeError,
      '[pixelUnshuffle] expected a height and width that 2 divides',
    ],
    [
      'pixelShuffle by 0',
      (x) => engine.pixelShuffle(engine.reshape(x, [1, 1, 2, 3]), 0),
      ArgumentError,
      '[pixelShuffle] expected factor',
    ],
    [
      'unfold of matrices',
      (x) => engine.unfold(x, { kernel: 1 }),
      ShapeError,
      '[unfold] expected images [N, H, W, C], got [2, 3]',
    ],
    [
      'unfold with a window beyond the image',
      (x) => engine.unfold(engine.reshape(x, [1, 2, 3, 1]), { kernel: 2, dilation: 2 }),
      ShapeError,
      '[unfold] expected images of at least [3, 3] pixels with padding [0, 0], got [1, 2, 3, 1]',
    ],
    [
      'unfold without a kernel',
      (x) => engine.unfold(engine.reshape(x, [1, 2, 3, 1]), {} as never),
      ArgumentError,
      '[unfold] expected kernel to be',
    ],
    [
      'unfold in steps of 0',
      (x) => engine.unfold(engine.reshape(x, [1, 2, 3, 1]), { kernel: 1, stride: 0 }),
      ValueError,
      '[unfold] expected a stride of whole numbers >= 1 and <= 2^28, got 0 and 0',
    ],
    [
      'tril of a vector',
      (x) => engine.tril(engine.flatten(x)),
      ShapeError,
      '[tril] expected matrices [..., R, C], got [6]',
    ],
    [
      'triu with the option of NumPy',
      (x) => engine.triu(x, { k: 1 } as never),
      ArgumentError,
      '[triu] expected options among offset, got "k"',
    ],
    [
      'diagonal of a vector',
      (x) => engine.diagonal(engine.flatten(x)),
      ShapeError,
      '[diagonal] expected matrices [..., R, C], got [6]',
    ],
    [
      'diagEmbed of a number',
      () => engine.diagEmbed(engine.zeros([], { device })),
      ShapeError,
      '[diagEmbed] expected vectors [..., n], got []',
    ],
    [
      'diag of a batch',
      (x) => engine.diag(engine.unsqueeze(x, 0)),
      ShapeError,
      '[diag] expected a vector [n] or a matrix [R, C], got [1, 2, 3]',
    ],
    [
      'trace of whole numbers',
      () => engine.trace(counted([2, 2], 'i32')),
      engine.DtypeError,
      '[trace] expected f32 operands',
    ],
  ];

  test.each(refused)('refuses %s', (_, run, kind, message) => {
    const before = device.memory().live;
    let thrown: unknown;
    try {
      scope(() => run(counted([2, 3])));
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(kind);
    expect((thrown as Error).message).toContain(message);
    expect(device.memory().live).toBe(before);
  });
});
