// bf16 convolutions between few channels and many on the emulated card: which shapes use their kernels, that all passes match the
// reference under every order of threads and timing of copies, and that they give the same bits.
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { CudaDevice } from '../../src/device/cuda/device.ts';
import type { AnyModule } from '../../src/device/module.ts';
import { cast } from '../../src/kernels/cast.ts';
import { convForward, convInputGradient, convWeightGradient } from '../../src/kernels/conv/cuda.ts';
import { fewRun, fewSide } from '../../src/kernels/conv/few.ts';
import { type ConvShape, convShapeOf, inputShape, outputShape, weightShape } from '../../src/kernels/conv/shape.ts';
import { randn } from '../../src/kernels/random.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';

const shapeOf = (x: readonly number[], outputs: number, kernel: readonly [number, number], padding: [number, number]) =>
  convShapeOf(x, [outputs, ...kernel, x[3]], { paddings: padding });

/** One side has few channels; sizes that no tile divides, images wider and higher than a tile, kernels that are not square. */
const shapes: [string, ConvShape][] = [
  ['3 to 64 channels', shapeOf([2, 9, 11, 3], 64, [3, 3], [1, 1])],
  ['64 to 3 channels', shapeOf([2, 9, 35, 64], 3, [3, 3], [1, 1])],
  ['1 to 192 channels', shapeOf([3, 4, 4, 1], 192, [5, 5], [2, 2])],
  ['128 to 2 channels', shapeOf([1, 13, 6, 128], 2, [3, 5], [2, 1])],
  ['64 to 5 channels without padding', shapeOf([40, 3, 5, 64], 5, [2, 3], [0, 0])],
  ['2 to 64 channels without padding', shapeOf([1, 37, 8, 2], 64, [4, 3], [0, 2])],
  ['32 to 64 channels', shapeOf([5, 1, 1, 32], 64, [1, 1], [0, 0])],
];

const conditions = ['round', 'forward', 'backward']
  .flatMap((schedule) => ['eager', 'deferred'].map((copies) => ({ schedule, copies })))
  .filter((_, i) => full || i === 2 || i === 5);

test('serves at most 32 terms on one side and multiples of 64 channels on the other', () => {
  const side = (channels: number, outputs: number, kernel = 3, padding = 1) =>
    fewSide(shapeOf([1, 8, 8, channels], outputs, [kernel, kernel], [padding, padding]));
  expect([side(3, 128), side(128, 3), side(1, 64, 5, 2)]).toEqual(['inputs', 'outputs', 'inputs']);
  expect([side(4, 64), side(64, 4), side(3, 96), side(3, 64, 1, 1), side(1, 64, 6, 2)]).toEqual(
    new Array(5).fill(undefined),
  );
  expect(fewSide({ ...shapeOf([1, 8, 8, 3], 64, [3, 3], [1, 1]), strideX: 2 })).toBeUndefined();
  expect(fewSide(shapeOf([1, 8, 8, 3], 0, [3, 3], [1, 1]))).toBeUndefined();
});

test('divides a weight gradient into at most 64 partial sums, by the shape alone', () => {
  expect(fewRun(shapeOf([128, 32, 32, 3], 128, [3, 3], [1, 1]))).toEqual({ parts: 64, run: 16 });
  expect(fewRun(shapeOf([1, 2, 2, 3], 128, [3, 3], [1, 1]))).toEqual({ parts: 1, run: 1 });
  expect(fewRun(shapeOf([65, 16, 8, 3], 128, [3, 3], [1, 1]))).toEqual({ parts: 33, run: 2 });
});

describe.runIf(deviceNames.includes('cuda-emulated'))('bf16 on cuda-emulated', () => {
  let device: CudaDevice;
  beforeAll(async () => {
    device = (await openTestDevice('cuda-emulated', { precision: 'bf16' })) as CudaDevice;
  }, 120_000);
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  const numbers = ['bf16', 'f32'] as const;

  /** All three passes, in bf16 or, with the same numbers, in f32. */
  const passes = (shape: ConvShape, dtype: (typeof numbers)[number]) =>
    scope(() => {
      const drawn = (dims: readonly number[], stream: number) =>
        cast(cast(randn(dims, { device, seed: 3, stream }), 'bf16'), dtype);
      const [x, weight, dy] = [inputShape(shape), weightShape(shape), outputShape(shape)].map(drawn);
      const bias = randn([shape.outputs], { device, seed: 3, stream: 3 });
      const read = (t: ReturnType<typeof drawn>) => cast(t, 'f32').dataSync() as Float32Array;
      return {
        y: read(convForward(x, weight, shape, { bias, scale: 0.5 })),
        plain: read(convForward(x, weight, shape, { scale: 1 })),
        dx: read(convInputGradient(dy, weight, shape, 0.5)),
        dw: read(convWeightGradient(x, dy, shape, 1)),
      };
    });

  test.each(shapes)(
    '%s: all passes match f32, with the same bits under any order',
    (_, shape) => {
      const expected = passes(shape, 'f32');
      const load = vi.spyOn(device, 'load');
      const results = conditions.map(({ schedule, copies }) => {
        vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
        vi.stubEnv('FAKECUDA_COPIES', copies);
        return passes(shape, 'bf16');
      });
      const used = new Set(load.mock.calls.map(([module]) => (module as AnyModule).name));
      expect([...used].filter((name) => name.startsWith('conv/'))).toEqual(['conv/few.bf16']);
      for (const result of results) expect(result).toEqual(results[0]);
      const [{ y, plain, dx, dw }] = results;
      expectClose('y', y, expected.y, { relative: 2 ** -8, ofLargest: 1e-5 });
      expectClose('y without a bias', plain, expected.plain, { relative: 2 ** -8, ofLargest: 1e-5 });
      expectClose('dx', dx, expected.dx, { relative: 2 ** -8, ofLargest: 1e-5 });
      expectClose('dw', dw, expected.dw, { ofLargest: 1e-5 });
    },
    120_000,
  );

  test('an infinity in the image reaches the pixels around it alone', () => {
    scope(() => {
      const shape = shapeOf([1, 8, 8, 3], 64, [3, 3], [1, 1]);
      const values = new Float32Array(8 * 8 * 3);
      values[(3 * 8 + 4) * 3 + 1] = Number.POSITIVE_INFINITY;
      const x = cast(tensor(values, { device, shape: [1, 8, 8, 3] }), 'bf16');
      const weight = cast(tensor(new Float32Array(64 * 27).fill(1), { device, shape: [64, 3, 3, 3] }), 'bf16');
      const y = cast(convForward(x, weight, shape, { scale: 1 }), 'f32').dataSync() as Float32Array;
      const near = (pixel: number) => Math.abs(Math.floor(pixel / 8) - 3) <= 1 && Math.abs((pixel % 8) - 4) <= 1;
      y.forEach((value, i) => expect(value).toBe(near(Math.floor(i / 64)) ? Number.POSITIVE_INFINITY : 0));
    });
  });
});
