// The share of right answers of a classifier.
import { refuseExtra } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { checkOperands, checkSameDevice } from '../kernels/op.ts';
import { argmax } from '../kernels/reduce.ts';
import { scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * The share of samples whose largest logit is that of their label, from 0 to 1; of equal logits the first counts. It
 * waits for the device and carries no gradient.
 * @param logits [N, classes], f32
 * @param labels [N], i32
 * @throws ShapeError for other shapes, or no samples
 * @example
 * const logits = tensor([[0.1, 2], [3, 0]]);
 * accuracy(logits, tensor([1, 1], { dtype: 'i32' })); // 0.5
 */
export function accuracy(logits: Tensor, labels: Tensor): number;
export function accuracy(logits: Tensor, labels: Tensor, ...extra: unknown[]): number {
  refuseExtra('accuracy', extra);
  checkOperands('accuracy', [logits]);
  checkOperands('accuracy', [labels], 'i32');
  checkSameDevice('accuracy', logits, labels);
  const [count, classes] = logits.shape;
  if (logits.rank !== 2 || labels.rank !== 1 || labels.size !== count || count === 0 || classes === 0)
    throw new ShapeError(
      'accuracy',
      'logits [N, classes] and labels [N], N >= 1',
      `${formatShape(logits.shape)} and ${formatShape(labels.shape)}`,
    );
  const answers = scope(() => noGrad(() => argmax(logits, { axis: 1 }).dataSync()));
  const known = labels.dataSync();
  return answers.filter((answer, i) => answer === known[i]).length / count;
}
