// Weights of 16 bits with activations of f32: the bits of their values in f32, gradients that flow through them, and none to them.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  cast,
  conv2d,
  convTranspose2d,
  jvp,
  matmul,
  NotDifferentiableError,
  randn,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.ts';
import { toFloat32 } from '../../src/io/array.ts';
import { openScope, type Scope } from '../../src/tensor/scope.ts';
import { openTestDevice } from '../support/devices.ts';

type Op = (x: Tensor, weight: Tensor) => Tensor;

const ops: [name: string, x: number[], weight: number[], op: Op][] = [
  ['conv2d', [1, 5, 6, 3], [4, 3, 3, 3], (x, w) => conv2d(x, w, { padding: 1 })],
  ['conv2d of whole panels', [2, 8, 8, 32], [32, 3, 3, 32], (x, w) => conv2d(x, w, { padding: 1 })],
  ['conv2d in groups', [1, 4, 4, 4], [4, 3, 3, 2], (x, w) => conv2d(x, w, { groups: 2 })],
  ['convTranspose2d', [1, 4, 4, 8], [8, 2, 2, 3], (x, w) => convTranspose2d(x, w, { stride: 2 })],
  ['matmul', [5, 7], [7, 9], (x, w) => matmul(x, w)],
  ['matmul of a layer', [2, 5, 7], [9, 7], (x, w) => matmul(x, w, { transposeB: true })],
  ['matmul of transposes', [7, 5], [9, 7], (x, w) => matmul(x, w, { transposeA: true, transposeB: true })],
];

describe.each(['cpu', 'wasm'])('on %s', (name) => {
  let device: Device;
  let work: Scope;
  beforeAll(async () => {
    device = await openTestDevice(name);
    work = openScope();
  }, 120_000);
  afterAll(() => work?.close());

  describe.each(['f16', 'bf16'] as const)('%s', (dtype) => {
    test.each(ops)('%s', (_, xShape, weightShape, op) => {
      work.run(() => {
        const half = cast(randn(weightShape, { seed: 2, device }), dtype);
        const run = (weight: Tensor) => {
          const x = randn(xShape, { seed: 1, device }).requireGrad();
          const y = op(x, weight);
          sum(y).backward();
          const [, tangent] = jvp(
            (at: Tensor) => op(at, weight),
            [randn(xShape, { seed: 1, device })],
            [randn(xShape, { seed: 3, device })],
          );
          return [y, x.grad as Tensor, tangent as Tensor].map((t) => [...(t.dataSync() as Float32Array)]);
        };
        expect(run(half)).toEqual(run(cast(half, 'f32')));
        const leaf = cast(randn(weightShape, { seed: 2, device }), dtype).requireGrad();
        const x = randn(xShape, { seed: 1, device });
        expect(() => sum(op(x, leaf)).backward()).toThrow(NotDifferentiableError);
        expect(() => sum(op(x, leaf)).backward()).toThrow(`a weight of ${dtype} is frozen`);
      });
    });
  });

  test('every pattern of f16 is widened exactly', () => {
    work.run(() => {
      const data = Uint16Array.from({ length: 65_536 }, (_, i) => i);
      const wide = cast(tensor(data, { shape: [65_536], dtype: 'f16', device }), 'f32').dataSync() as Float32Array;
      const wanted = toFloat32({ shape: [65_536], dtype: 'f16', data });
      // Also the signs of zeros; any NaN is one.
      expect(data.filter((i) => !Object.is(wide[i], wanted[i]))).toEqual(new Uint16Array(0));
    });
  });

  test('the graph keeps the weight as it is, and frees what it widened', () => {
    const outer = openScope();
    try {
      outer.run(() => {
        const half = cast(randn([256, 256], { seed: 2, device }), 'f16');
        const x = randn([4, 256], { seed: 1, device }).requireGrad();
        const before = device.memory().live;
        const y = sum(matmul(x, half));
        expect(device.memory().live - before).toBeLessThan(256 * 256);
        y.backward();
      });
    } finally {
      outer.close();
    }
  });
});
