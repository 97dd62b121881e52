// Random classes from their logits.
import { checkOptions } from '../../arguments.ts';
import { noGrad } from '../../autograd/mode.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { div } from '../elementwise.ts';
import { reshape } from '../movement.ts';
import { apply, checkOperands, declareOp, notDifferentiable } from '../op.ts';
import { type DrawOptions, drawOptions, exponential } from '../random.ts';
import { argmax } from '../reduce.ts';
import { softmax } from '../softmax.ts';

export const categoricalOp = declareOp({
  name: 'categorical',
  cpu: 'none',
  cuda: 'none',
  ...notDifferentiable('its result is a random choice'),
});

/**
 * A random class for each row, class k with probability softmax(logits)[k]: the index of the largest of
 * softmax(logits)[k] / E[k], where E are the numbers of `exponential` with the same options. Those are the same on every
 * device; the softmax may be rounded differently, which changes the choice only where two classes nearly tie.
 * @param logits [..., classes], f32; -Infinity for a class of probability 0. For probabilities p, log(p).
 * @returns i32 [...]
 * @example categorical(log(tensor([[0.1, 0.9], [0.9, 0.1]])), { seed: 1 }); // [1, 0]
 */
export function categorical(logits: Tensor, options: DrawOptions): Tensor {
  const device = checkOperands('categorical', [logits]);
  const draw = checkOptions('categorical', options, drawOptions, ['seed']);
  const [classes = 0] = logits.shape.slice(-1);
  if (classes === 0)
    throw new ShapeError('categorical', 'logits [..., classes] of at least one class', formatShape(logits.shape));
  // The first axis counts samples; logits [classes] are one sample.
  const shape = logits.rank === 1 ? [1, classes] : logits.shape;
  const chosen = noGrad(() => {
    using rows = reshape(logits, shape);
    using probabilities = softmax(rows);
    using times = exponential(shape, { ...draw, device });
    using scores = div(probabilities, times);
    using largest = argmax(scores, { axis: -1 });
    return reshape(largest, logits.shape.slice(0, -1));
  });
  return apply(categoricalOp, chosen, { parents: [logits] });
}
