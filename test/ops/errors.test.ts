// What ops refuse, and with which messages: wrong shapes (the message has both), dtypes, devices, disposed tensors, and
// gradients that do not exist. Every message names the op.
import { beforeAll, describe, expect, test } from 'vitest';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { DeviceError, DtypeError, NotDifferentiableError, ShapeError, UseAfterFreeError } from '../../src/errors.ts';
import { prelu } from '../../src/kernels/activation.ts';
import { cast } from '../../src/kernels/cast.ts';
import { attention } from '../../src/kernels/composed/attention.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import * as elementwise from '../../src/kernels/elementwise.ts';
import { firResample, firUpsample } from '../../src/kernels/fir.ts';
import { geglu, gelu } from '../../src/kernels/gelu.ts';
import { groupNorm } from '../../src/kernels/group_norm.ts';
import { bitwiseAnd } from '../../src/kernels/integer.ts';
import * as logic from '../../src/kernels/logic.ts';
import { mse } from '../../src/kernels/loss.ts';
import { atan2, floor, mod } from '../../src/kernels/math.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import * as movement from '../../src/kernels/movement.ts';
import { averagePool2d, maxPool2d } from '../../src/kernels/pooling.ts';
import { argmax, max, mean, min, sum } from '../../src/kernels/reduce.ts';
import { downsampleMean, upsampleNearest } from '../../src/kernels/resample.ts';
import { resizeBilinear } from '../../src/kernels/resize.ts';
import { crossEntropy, logSoftmax, softmax } from '../../src/kernels/softmax.ts';
import { empty, tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { asList, describeCase } from '../cases/case.ts';
import { cases } from '../cases.ts';
import { makeTensor } from '../support/check.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';
import { fill, random } from '../support/random.ts';
import { count } from '../support/reference/index.ts';

const { add, exp, less, mul, where } = elementwise;
const { broadcastTo, concat, gather, oneHot, pad, permute, reshape, slice, split, transpose } = movement;

type Make = (...shape: number[]) => Tensor;

/** The op, the shapes that its message must contain, and the call; `f` makes an f32 tensor and `i` an i32 one. */
type Refusal = [op: string, shapes: string, call: (f: Make, i: Make) => unknown];

const wrongShapes: Refusal[] = [
  ['add', '[2, 3] [4]', (f) => add(f(2, 3), f(4))],
  ['mul', '[2, 3] [3, 2]', (f) => mul(f(2, 3), f(3, 2))],
  ['less', '[2, 3] [4]', (f) => less(f(2, 3), f(4))],
  ['sum', '[2, 3]', (f) => sum(f(2, 3), { axes: 2 })],
  ['mean', '[2, 3]', (f) => mean(f(2, 3), { axes: [0, 0] })],
  ['max', '[2, 0]', (f) => max(f(2, 0), { axes: 1 })],
  ['min', '[2, 0]', (f) => min(f(2, 0), { axes: 1 })],
  ['argmax', '[2, 3]', (f) => argmax(f(2, 3), { axis: -3 })],
  ['softmax', '[2, 3]', (f) => softmax(f(2, 3), { axis: 2 })],
  ['logSoftmax', '[2, 3]', (f) => logSoftmax(f(2, 3), { axis: -3 })],
  ['crossEntropy', '[2, 3] [3]', (f, i) => crossEntropy(f(2, 3), i(3))],
  ['mse', '[2, 3] [3, 2]', (f) => mse(f(2, 3), f(3, 2))],
  ['matmul', '[2, 3] [4, 5]', (f) => matmul(f(2, 3), f(4, 5))],
  ['matmul', '[2, 3] [3, 5]', (f) => matmul(f(2, 3), f(3, 5), { transposeB: true })],
  ['matmul', '[2, 4, 3] [3, 3, 5]', (f) => matmul(f(2, 4, 3), f(3, 3, 5))],
  ['matmul', '[3]', (f) => matmul(f(3), f(3, 2))],
  ['matmul', '[4]', (f) => matmul(f(2, 3), f(3, 5), { bias: f(4) })],
  ['attention', '[1, 4, 3] [1, 5, 2]', (f) => attention(f(1, 4, 3), f(1, 5, 2), f(1, 5, 3))],
  ['attention', '[1, 5, 3] [1, 6, 3]', (f) => attention(f(1, 4, 3), f(1, 5, 3), f(1, 6, 3))],
  ['conv2d', '[1, 5, 5, 3] [4, 3, 3, 2]', (f) => conv2d(f(1, 5, 5, 3), f(4, 3, 3, 2))],
  ['conv2d', '[5, 5, 3]', (f) => conv2d(f(5, 5, 3), f(4, 3, 3, 3))],
  ['conv2d', '[1, 2, 2, 3] [4, 3, 3, 3]', (f) => conv2d(f(1, 2, 2, 3), f(4, 3, 3, 3))],
  ['conv2d', '[5]', (f) => conv2d(f(1, 5, 5, 3), f(4, 3, 3, 3), { bias: f(5) })],
  ['conv2d', '[1, 5]', (f) => conv2d(f(1, 5, 5, 3), f(4, 3, 3, 3), { add: f(1, 5) })],
  ['conv2d', '[1, 5, 5, 4]', (f) => conv2d(f(1, 5, 5, 3), f(4, 3, 3, 3), { residual: f(1, 5, 5, 4) })],
  ['groupNorm', '[1, 2, 2, 6]', (f) => groupNorm(f(1, 2, 2, 6), f(6), f(6), { groups: 4 })],
  ['groupNorm', '[1, 2, 2, 6] [5]', (f) => groupNorm(f(1, 2, 2, 6), f(5), f(6), { groups: 3 })],
  ['firUpsample', '[2, 2, 3]', (f) => firUpsample(f(2, 2, 3), [1, 3, 3, 1])],
  ['firResample', '[1, 3, 2, 3]', (f) => firResample(f(1, 3, 2, 3), [1, 2, 1])],
  ['upsampleNearest', '[2, 2, 3]', (f) => upsampleNearest(f(2, 2, 3), 2)],
  ['downsampleMean', '[1, 3, 2, 3]', (f) => downsampleMean(f(1, 3, 2, 3), 2)],
  ['maxPool2d', '[2, 2, 3]', (f) => maxPool2d(f(2, 2, 3), { kernel: 2 })],
  ['maxPool2d', '[1, 2, 5, 3] [3, 3]', (f) => maxPool2d(f(1, 2, 5, 3), { kernel: 3 })],
  ['averagePool2d', '[1, 0, 5, 3]', (f) => averagePool2d(f(1, 0, 5, 3), { kernel: 2, padding: 1 })],
  ['resizeBilinear', '[1, 2, 5, 3] [0, 4]', (f) => resizeBilinear(f(1, 2, 5, 3), [0, 4])],
  ['reshape', '[2, 3] [4, 2]', (f) => reshape(f(2, 3), [4, 2])],
  ['reshape', '[2, 3] [4, -1]', (f) => reshape(f(2, 3), [4, -1])],
  ['permute', '[2, 3]', (f) => permute(f(2, 3), [0, 0])],
  ['permute', '[2, 3]', (f) => permute(f(2, 3), [0, 1, 2])],
  ['transpose', '[3]', (f) => transpose(f(3))],
  ['pad', '[2, 3]', (f) => pad(f(2, 3), [[1, 1]])],
  ['slice', '[2, 3]', (f) => slice(f(2, 3), [0, 0], [2, 4])],
  ['concat', '[2, 3] [3, 3]', (f) => concat([f(2, 3), f(3, 3)], 1)],
  ['split', '[2, 3]', (f) => split(f(2, 3), [1, 1], 1)],
  ['split', '[2, 3]', (f) => split(f(2, 3), 2, 1)],
  ['broadcastTo', '[2, 3] [2, 4]', (f) => broadcastTo(f(2, 3), [2, 4])],
  ['mod', '[2, 3] [4]', (f) => mod(f(2, 3), f(4))],
  ['bitwiseAnd', '[2, 3] [4]', (_, i) => bitwiseAnd(i(2, 3), i(4))],
  ['logicalAnd', '[2, 3] [4]', (f) => logic.logicalAnd(logic.isNaN(f(2, 3)), logic.isNaN(f(4)))],
  ['geglu', '[2, 3]', (f) => geglu(f(2, 3))],
  ['prelu', '[3] [2, 3]', (f) => prelu(f(3), f(2, 3))],
  ['prelu', '[2, 3] [4]', (f) => prelu(f(2, 3), f(4))],
];

const wrongDtypes: [op: string, call: (f: Make, i: Make) => unknown][] = [
  ['exp', (_, i) => exp(i(3))],
  ['floor', (_, i) => floor(i(3))],
  ['atan2', (_, i) => atan2(i(3), i(3))],
  ['mod', (f, i) => mod(i(3), f(3))],
  ['isNaN', (_, i) => logic.isNaN(i(3))],
  ['logicalAnd', (f) => logic.logicalAnd(f(3), f(3))],
  ['bitwiseAnd', (f) => bitwiseAnd(f(3), f(3))],
  ['gelu', (_, i) => gelu(i(3))],
  ['geglu', (_, i) => geglu(i(4))],
  ['prelu', (f, i) => prelu(f(3), i(3))],
  ['add', (f, i) => add(f(3), i(3))],
  ['where', (f) => where(f(3), f(3), f(3))],
  ['softmax', (_, i) => softmax(i(2, 3))],
  ['crossEntropy', (f) => crossEntropy(f(2, 3), f(2))],
  ['mse', (f, i) => mse(f(3), i(3))],
  ['matmul', (f, i) => matmul(f(2, 3), i(3, 4))],
  ['attention', (f, i) => attention(f(1, 4, 3), i(1, 5, 3), f(1, 5, 3))],
  ['conv2d', (f, i) => conv2d(f(1, 5, 5, 3), i(4, 3, 3, 3))],
  ['groupNorm', (f, i) => groupNorm(i(1, 2, 2, 6), f(6), f(6), { groups: 2 })],
  ['firResample', (_, i) => firResample(i(1, 2, 2, 3), [1, 3, 3, 1])],
  ['maxPool2d', (_, i) => maxPool2d(i(1, 2, 2, 3), { kernel: 2 })],
  ['averagePool2d', (_, i) => averagePool2d(i(1, 2, 2, 3), { kernel: 2 })],
  ['resizeBilinear', (_, i) => resizeBilinear(i(1, 2, 2, 3), [4, 4])],
  ['gather', (f) => gather(f(4, 3), f(2))],
  ['oneHot', (f) => oneHot(f(2), 5)],
  ['concat', (f, i) => concat([f(2, 3), i(2, 3)], 0)],
];

function refusal(call: () => unknown): Error {
  try {
    scope(call);
  } catch (error) {
    return error as Error;
  }
  throw new Error('the call was not refused');
}

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  const f: Make = (...shape) => zeros(shape, { device });
  const i: Make = (...shape) => zeros(shape, { device, dtype: 'i32' });
  const leaf: Make = (...shape) => zeros(shape, { device, requiresGrad: true });

  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each(wrongShapes)('%s refuses shapes %s', (op, shapes, call) => {
    const error = refusal(() => call(f, i));
    expect(error).toBeInstanceOf(ShapeError);
    expect(error.message).toContain(`[${op}]`);
    for (const shape of shapes.split(/(?<=\]) /)) expect(error.message).toContain(shape);
  });

  test.each(wrongDtypes)('%s refuses a wrong dtype', (op, call) => {
    const error = refusal(() => call(f, i));
    expect(error).toBeInstanceOf(DtypeError);
    expect(error.message).toContain(`[${op}]`);
    expect(error.message).toMatch(/i32|f32/);
  });

  /** The first case of every op, at a size without empty inputs. */
  const firstCases = cases
    .filter((definition, index) => cases.findIndex(({ op }) => op === definition.op) === index)
    .flatMap((definition) => {
      const full = definition.check.filter((size) => definition.inputs(size).every(({ shape }) => count(shape) > 0));
      return full.length === 0 ? [] : [{ title: describeCase(definition), definition, size: full[full.length - 1] }];
    });

  test.each(firstCases)('$title names itself and the tensor when used after dispose', ({ definition, size }) => {
    const inputs = definition.inputs(size);
    inputs.forEach((_, disposed) => {
      const draw = random('dispose');
      const error = refusal(() => {
        const tensors = inputs.map((input) => makeTensor(fill(input, draw), input.dtype, device, false));
        tensors[disposed].label = 'the disposed one';
        tensors[disposed].dispose();
        return definition.run(tensors, size);
      });
      expect(error).toBeInstanceOf(UseAfterFreeError);
      expect(error.message).toContain(`[${definition.op}]`);
      expect(error.message).toContain('the disposed one');
    });
  });

  test.each(firstCases.filter(({ definition, size }) => definition.inputs(size).length > 1))(
    '$title refuses operands on two devices',
    async ({ definition, size }) => {
      const other = await openDevice('cpu', { threads: 1 });
      const draw = random('devices');
      const error = refusal(() => {
        const tensors = definition
          .inputs(size)
          .map((input, at) => makeTensor(fill(input, draw), input.dtype, at === 1 ? other : device, false));
        return definition.run(tensors, size);
      });
      expect(error).toBeInstanceOf(DeviceError);
      expect(error.message).toContain(`[${definition.op}]`);
    },
  );

  const withoutGradient = cases.filter(
    ({ dtype = 'f32', op, inputs, check }) =>
      dtype !== 'f32' && op !== 'cast' && inputs(check[0]).some((input) => input.dtype === 'f32'),
  );

  test.each(withoutGradient.map((definition) => ({ title: describeCase(definition), definition })))(
    'refuses backward through $title by name',
    ({ definition }) => {
      const size = definition.check[0];
      const error = refusal(() => {
        const tensors = definition
          .inputs(size)
          .map((input) => makeTensor(fill(input, random('blocked')), input.dtype, device, input.dtype === 'f32'));
        for (const output of asList(definition.run(tensors, size))) sum(cast(output, 'f32')).backward();
      });
      expect(error).toBeInstanceOf(NotDifferentiableError);
      expect(error.message).toContain(`[${definition.op}]`);
    },
  );

  test('refuses double backward by name', () => {
    const x = leaf(3);
    const error = refusal(() => gradients(sum(mul(x, x)), [x], { createGraph: true }));
    expect(error).toBeInstanceOf(NotDifferentiableError);
    expect(error.message).toMatch(/double backward/);
    x.dispose();
  });

  test('refuses a second backward through a freed graph, and runs it with retainGraph', () => {
    const x = tensor([1, 2, 3], { device, requiresGrad: true });
    const error = refusal(() => {
      const y = sum(mul(x, x));
      y.backward();
      y.backward();
    });
    expect(error).toBeInstanceOf(NotDifferentiableError);
    expect(error.message).toContain('retainGraph');
    x.dispose();
    const kept = tensor([1, 2, 3], { device, requiresGrad: true });
    scope(() => {
      const y = sum(mul(kept, kept));
      y.backward(undefined, { retainGraph: true });
      y.backward();
    });
    expect(Array.from(kept.grad?.dataSync() ?? [])).toEqual([4, 8, 12]);
    kept.dispose();
  });

  test('backward without a cotangent needs one element, and a cotangent needs the shape of the output', () => {
    const x = leaf(2, 3);
    const missing = refusal(() => mul(x, 2).backward());
    expect(missing).toBeInstanceOf(ShapeError);
    expect(missing.message).toContain('[2, 3]');
    const wrong = refusal(() => mul(x, 2).backward(f(3, 2)));
    expect(wrong).toBeInstanceOf(ShapeError);
    expect(wrong.message).toContain('[2, 3]');
    expect(wrong.message).toContain('[3, 2]');
    x.dispose();
  });

  test('tensor data must fit its shape', () => {
    expect(() => tensor([1, 2, 3], { shape: [2, 2], device })).toThrow(ShapeError);
    expect(() => empty([2, -1], { device })).toThrow(ShapeError);
  });

  test('refused calls leak no memory', () => {
    const before = device.memory().live;
    for (const [, , call] of wrongShapes) refusal(() => call(f, i));
    expect(device.memory().live).toBe(before);
  });
});
