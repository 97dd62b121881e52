/**
 * What the cases do not show of the losses: PyTorch's numbers, the ends of the range, ties and zeros, and refusals by name.
 * The numbers are those of torch.nn.functional in PyTorch 2.13, float64, on the same arguments.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { DtypeError, RectiflowError, ShapeError, ValueError } from '../../src/errors.ts';
import { nllLoss } from '../../src/kernels/composed/class_losses.ts';
import * as losses from '../../src/kernels/composed/losses.ts';
import { crossEntropy, logSoftmax } from '../../src/kernels/softmax.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const { binaryCrossEntropyWithLogits, cosineEmbeddingLoss, cosineSimilarity, huberLoss, klDivergence } = losses;
const { l1Loss, smoothL1Loss } = losses;
/** Results of cross_entropy for the logits of a test below. */
const pytorch = {
  weight: 1.319993292017846,
  smoothed: 1.5076443390195806,
  both: 1.4273600346897948,
  sum: 4.995760121414282,
  uniform: 1.5826443390195808,
};
const infinity = Number.POSITIVE_INFINITY;

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  const given = (values: number[], shape: number[] = [values.length]) => tensor(values, { shape, device });
  const whole = (values: number[]) => tensor(values, { dtype: 'i32', device });
  const numbers = (t: Tensor) => Array.from(t.dataSync() as Float32Array);
  const none = { reduction: 'none' } as const;

  /** The gradient of the sum of a loss with respect to its first argument. */
  function gradientOf(values: number[], run: (x: Tensor) => Tensor): number[] {
    const x = tensor(values, { device, requiresGrad: true });
    run(x).backward();
    const gradient = numbers(x.grad as Tensor);
    x.dispose();
    return gradient;
  }

  test('binaryCrossEntropyWithLogits is exact for large logits and smooth at 0', () => {
    scope(() => {
      const x = [0, -0, 20, -20, 100, -100, 1e4, -1e4];
      const zeros = given(x.map(() => 0));
      const ones = given(x.map(() => 1));
      const softplus = (value: number) => Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value)));
      const close = { relative: 3e-7, absolute: 1e-38 };
      expectClose('target 0', numbers(binaryCrossEntropyWithLogits(given(x), zeros, none)), x.map(softplus), close);
      expectClose(
        'target 1',
        numbers(binaryCrossEntropyWithLogits(given(x), ones, none)),
        x.map((value) => softplus(-value)),
        close,
      );
      const slopes = gradientOf(x, (t) => binaryCrossEntropyWithLogits(t, zeros, { reduction: 'sum' }));
      expectClose(
        'gradient',
        slopes,
        x.map((value) => 1 / (1 + Math.exp(-value))),
        { relative: 3e-7, absolute: 1e-38 },
      );
      expect(numbers(binaryCrossEntropyWithLogits(given([infinity, Number.NaN]), given([0, 1]), none))).toEqual([
        infinity,
        Number.NaN,
      ]);
    });
  });

  test('differences of 0 have gradient 0, infinite ones a finite gradient', () => {
    const target = () => given([1, 0, 0]);
    const run = (loss: (x: Tensor, t: Tensor) => Tensor) =>
      scope(() => gradientOf([1, 5, -infinity], (x) => loss(x, target())));
    expect(run((x, t) => l1Loss(x, t, { reduction: 'sum' }))).toEqual([0, 1, -1]);
    expect(run((x, t) => huberLoss(x, t, { reduction: 'sum', delta: 2 }))).toEqual([0, 2, -2]);
    expect(run((x, t) => smoothL1Loss(x, t, { reduction: 'sum', beta: 2 }))).toEqual([0, 1, -1]);
    expect(run((x, t) => smoothL1Loss(x, t, { reduction: 'sum', beta: 0 }))).toEqual([0, 1, -1]);
  });

  test('losses at the bounds agree with PyTorch', () => {
    scope(() => {
      const [a, b] = [given([0, 1, 3, -4]), given([1, 3, 3, infinity])];
      expect(numbers(huberLoss(a, b, { ...none, delta: 2 }))).toEqual([0.5, 2, 0, infinity]);
      expect(numbers(smoothL1Loss(a, b, { ...none, beta: 2 }))).toEqual([0.25, 1, 0, infinity]);
      expect(numbers(l1Loss(a, b, none))).toEqual([1, 2, 0, infinity]);
      const [p, q] = [given([-1, -2, -3, -0.5]), given([0, 0.5, 1, 0.25])];
      expectClose('klDivergence', numbers(klDivergence(p, q, none)), [0, 0.6534264097200273, 3, -0.22157359027997264], {
        relative: 1e-6,
      });
      const log = given([-infinity, -1, -2, 0]);
      expect(numbers(klDivergence(p, log, { ...none, logTarget: true }))[3]).toBe(0.5);
    });
  });

  test('an impossible class that is not the label leaves the loss finite', () => {
    scope(() => {
      const x = given([-infinity, -1, 0, -infinity], [2, 2]);
      expect(numbers(nllLoss(x, whole([1, 0]), none))).toEqual([1, 0]);
      expect(nllLoss(x, whole([0, 0])).item()).toBe(infinity);
    });
  });

  test('weights and smoothing agree with PyTorch', () => {
    scope(() => {
      const logits = given([0.5, -1, 2, 0, 0.25, -0.75, 1.5, 1, -2], [3, 3]);
      const labels = whole([0, 2, 1]);
      const weight = given([0.5, 2, 1]);
      for (const [options, want] of [
        [{ weight }, pytorch.weight],
        [{ labelSmoothing: 0.1 }, pytorch.smoothed],
        [{ weight, labelSmoothing: 0.3 }, pytorch.both],
        [{ weight, labelSmoothing: 0.3, reduction: 'sum' }, pytorch.sum],
        [{ labelSmoothing: 1 }, pytorch.uniform],
      ] as const)
        expectClose('crossEntropy', [crossEntropy(logits, labels, options).item()], [want], { relative: 2e-6 });
      const plain = nllLoss(logSoftmax(logits), labels).item();
      expectClose('nllLoss', [plain], [crossEntropy(logits, labels).item()], { relative: 1e-6 });
    });
  });

  test('a vector of zeros has similarity 0 and a finite gradient', () => {
    scope(() => {
      expect(numbers(cosineSimilarity(given([0, 0, 3, 4], [2, 2]), given([1, 2, 3, 4], [2, 2])))).toEqual([0, 1]);
      const slopes = gradientOf([0, 0], (x) => cosineSimilarity(x, given([3, 4])));
      expectClose('gradient', slopes, [0.6e8, 0.8e8], { relative: 1e-5 });
      expect(numbers(cosineEmbeddingLoss(given([1, 0]), given([1, 0]), given([-1], []), { margin: 0.25 }))).toEqual([
        0.75,
      ]);
    });
  });

  test('arguments that do not fit are refused by name', () => {
    scope(() => {
      const x = () => given([1, 2, 3, 4], [2, 2]);
      const labels = () => whole([0, 1]);
      const refused: [string, new (...values: never[]) => RectiflowError, () => unknown][] = [
        ['[l1Loss] expected tensors of the same shape', ShapeError, () => l1Loss(x(), given([1]))],
        ['[l1Loss]', DtypeError, () => l1Loss(labels(), labels())],
        [
          '[huberLoss] expected delta to be a finite number > 0, got 0',
          RectiflowError,
          () => huberLoss(x(), x(), { delta: 0 }),
        ],
        ['[smoothL1Loss] expected beta', RectiflowError, () => smoothL1Loss(x(), x(), { beta: -1 })],
        ['did you mean "delta"', RectiflowError, () => huberLoss(x(), x(), { delte: 1 } as never)],
        [
          '[klDivergence] expected reduction',
          RectiflowError,
          () => klDivergence(x(), x(), { reduction: 'batch' as never }),
        ],
        ['[klDivergence]', ShapeError, () => klDivergence(given([1], []), given([1], []), { reduction: 'batchMean' })],
        [
          '[binaryCrossEntropyWithLogits]',
          ShapeError,
          () => binaryCrossEntropyWithLogits(x(), x(), { weight: given([1, 2, 3]) }),
        ],
        [
          '[binaryCrossEntropyWithLogits] expected weights that broadcast to [2, 2]',
          ShapeError,
          () => binaryCrossEntropyWithLogits(x(), x(), { positiveWeight: given([1, 2, 3, 4], [1, 2, 2]) }),
        ],
        ['[nllLoss] label 2 at position 1 is outside [0, 2)', ValueError, () => nllLoss(x(), whole([0, 2]))],
        ['[nllLoss] label -1 at position 0 is outside [0, 2)', ValueError, () => nllLoss(x(), whole([-1, 2]))],
        ['[nllLoss] expected logProbabilities [N, classes]', ShapeError, () => nllLoss(x(), whole([0]))],
        ['[nllLoss] expected a weight [2]', ShapeError, () => nllLoss(x(), labels(), { weight: given([1]) })],
        [
          '[crossEntropy] label 5 at position 0',
          ValueError,
          () => crossEntropy(x(), whole([5, 0]), { labelSmoothing: 0.1 }),
        ],
        [
          '[crossEntropy] expected labelSmoothing',
          RectiflowError,
          () => crossEntropy(x(), labels(), { labelSmoothing: 2 }),
        ],
        ['[cosineSimilarity]', ShapeError, () => cosineSimilarity(x(), x(), { axis: 2 })],
        [
          '[cosineSimilarity] expected at least one axis',
          ShapeError,
          () => cosineSimilarity(given([1], []), given([1], [])),
        ],
        ['[cosineEmbeddingLoss] expected vectors', ShapeError, () => cosineEmbeddingLoss(x(), x(), given([1]))],
        ['[cosineEmbeddingLoss]', DtypeError, () => cosineEmbeddingLoss(x(), x(), labels())],
      ];
      for (const [message, type, call] of refused) {
        expect(call, message).toThrow(type);
        expect(call).toThrow(message);
      }
    });
  });
});
