// Sums of products of tensors whose axes have labels: the part of einsum() and tensordot() below their notations.
import { ArgumentError, formatShape, ShapeError } from '../../errors.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { mul } from '../elementwise.ts';
import { matmul } from '../matmul.ts';
import { permute, reshape } from '../movement.ts';
import { sum } from '../reduce.ts';
import { diagonal } from './diagonal.ts';

/** A tensor and the label of each of its axes. */
export interface Labelled {
  tensor: Tensor;
  labels: readonly string[];
}

/**
 * The sum over all labels that are not in `output` of the product of the operands. Axes of one label have one extent or
 * 1, which is repeated. More than two operands are multiplied in pairs, each time the pair whose product grows least.
 * @throws ShapeError for extents that do not fit
 */
export function contract(op: string, operands: readonly Labelled[], output: readonly string[]): Tensor {
  const extents = extentsOf(op, operands);
  let left = operands.map((operand) => withoutRepeats(op, operand));
  /** The labels that something other than these operands still needs. */
  const needed = (...taken: Labelled[]) =>
    new Set([...output, ...left.filter((one) => !taken.includes(one)).flatMap(({ labels }) => labels)]);
  left = left.map((one) => {
    const others = needed(one);
    return summed(
      one,
      one.labels.filter((label) => !others.has(label)),
    );
  });
  while (left.length > 1) {
    const [a, b] = cheapestPair(left, needed, extents);
    const product = multiply(a, b, needed(a, b));
    left = [...left.filter((one) => one !== a && one !== b), product];
  }
  const y = ordered(left[0], output);
  // The result is never an operand itself, whose disposal would free it.
  return operands.some(({ tensor }) => tensor === y) ? reshape(y, y.shape) : y;
}

/** The extent of each label. @throws ShapeError */
function extentsOf(op: string, operands: readonly Labelled[]): Map<string, number> {
  const extents = new Map<string, number>();
  for (const { tensor, labels } of operands)
    labels.forEach((label, axis) => {
      const [known, extent] = [extents.get(label) ?? 1, tensor.shape[axis]];
      if (known !== 1 && extent !== 1 && known !== extent) {
        const name = label.length === 1 ? `axis "${label}"` : 'each axis of "..."';
        const shapes = operands.map((one) => formatShape(one.tensor.shape)).join(', ');
        throw new ShapeError(op, `one extent of ${name}`, `${known} and ${extent} in ${shapes}`);
      }
      extents.set(label, known === 1 ? extent : known);
    });
  return extents;
}

// ---------------------------------------------------------------- one operand

/** The diagonal of axes that share a label. */
function withoutRepeats(op: string, operand: Labelled): Labelled {
  const { tensor, labels } = operand;
  const second = labels.findIndex((label, axis) => labels.indexOf(label) < axis);
  if (second < 0) return operand;
  const first = labels.indexOf(labels[second]);
  const n = tensor.shape[first];
  if (tensor.shape[second] !== n)
    throw new ShapeError(
      op,
      `equal extents of the axes "${labels[second]}" of one operand`,
      `${n} and ${tensor.shape[second]} in ${formatShape(tensor.shape)}`,
    );
  const others = labels.flatMap((_, axis) => (axis === first || axis === second ? [] : [axis]));
  return withoutRepeats(op, {
    tensor: diagonal(permute(tensor, [...others, first, second])),
    labels: [...others.map((axis) => labels[axis]), labels[first]],
  });
}

function summed(operand: Labelled, gone: readonly string[]): Labelled {
  if (gone.length === 0) return operand;
  const axes = gone.map((label) => operand.labels.indexOf(label));
  return { tensor: sum(operand.tensor, { axes }), labels: operand.labels.filter((label) => !gone.includes(label)) };
}

/** The tensor with its axes in the order of `labels`, which has the labels of the operand and others: those get extent 1. */
function ordered({ tensor, labels }: Labelled, order: readonly string[]): Tensor {
  const own = order.filter((label) => labels.includes(label));
  const turned = sameOrder(own, labels)
    ? tensor
    : permute(
        tensor,
        own.map((label) => labels.indexOf(label)),
      );
  if (own.length === order.length) return turned;
  return reshape(
    turned,
    order.map((label) => (labels.includes(label) ? tensor.shape[labels.indexOf(label)] : 1)),
  );
}

function sameOrder(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((label, i) => label === b[i]);
}

// ---------------------------------------------------------------- two operands

/** The pair whose product has the fewest elements beyond those of its factors; of equal ones the first. */
function cheapestPair(
  operands: readonly Labelled[],
  needed: (...taken: Labelled[]) => Set<string>,
  extents: ReadonlyMap<string, number>,
): [Labelled, Labelled] {
  let best: [Labelled, Labelled] = [operands[0], operands[1]];
  let least = Number.POSITIVE_INFINITY;
  if (operands.length === 2) return best;
  operands.forEach((a, i) => {
    for (const b of operands.slice(i + 1)) {
      const others = needed(a, b);
      const kept = [...new Set([...a.labels, ...b.labels])].filter((label) => others.has(label));
      const size = kept.reduce((product, label) => product * (extents.get(label) as number), 1);
      const growth = size - a.tensor.size - b.tensor.size;
      if (growth < least) [best, least] = [[a, b], growth];
    }
  });
  return best;
}

/** The sum over the labels that are not needed of the product of two operands. */
function multiply(a: Labelled, b: Labelled, needed: ReadonlySet<string>): Labelled {
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const gone = shared.filter((label) => !needed.has(label));
  const extent = ({ tensor, labels }: Labelled, label: string) => tensor.shape[labels.indexOf(label)];
  // Where one operand repeats a single element along a summed axis, the other is summed before.
  const uneven = gone.filter((label) => extent(a, label) !== extent(b, label));
  if (uneven.length > 0) return multiply(summed(a, uneven), summed(b, uneven), needed);
  const batch = shared.filter((label) => needed.has(label));
  const [left, right] = [a, b].map(({ labels }) => labels.filter((label) => !shared.includes(label)));
  const result = [...batch, ...left, ...right];
  if (gone.length === 0) return { tensor: mul(ordered(a, result), ordered(b, result)), labels: result };
  if (batch.length > 0 && left.length === 0 && right.length === 0) {
    const all = [...batch, ...gone];
    return summed({ tensor: mul(ordered(a, all), ordered(b, all)), labels: all }, gone);
  }
  return { tensor: asMatrices(a, b, { batch, left, right, gone }), labels: result };
}

interface Roles {
  /** Labels of both operands that stay, of one that stay, and of both that are summed. */
  batch: readonly string[];
  left: readonly string[];
  right: readonly string[];
  gone: readonly string[];
}

/** The product as one of matrices, in the order of axes that copies the fewest operands. */
function asMatrices(a: Labelled, b: Labelled, { batch, left, right, gone }: Roles): Tensor {
  const orders = [a, b].map(({ labels }) => labels.filter((label) => gone.includes(label)));
  const plans = orders.map((summing) => {
    const [leftOrders, rightOrders] = [left, right].map((own) => [
      [...batch, ...own, ...summing],
      [...batch, ...summing, ...own],
    ]);
    const transposeA = sameOrder(a.labels, leftOrders[1]) && left.length > 0;
    const transposeB = sameOrder(b.labels, rightOrders[0]) && right.length > 0;
    const inPlace = [
      transposeA || sameOrder(a.labels, leftOrders[0]),
      transposeB || sameOrder(b.labels, rightOrders[1]),
    ];
    const [orderA, orderB] = [leftOrders[transposeA ? 1 : 0], rightOrders[transposeB ? 0 : 1]];
    return { orderA, orderB, transposeA, transposeB, copies: inPlace.filter((one) => !one).length };
  });
  const { orderA, orderB, transposeA, transposeB } = plans[1].copies < plans[0].copies ? plans[1] : plans[0];
  const size = ({ tensor, labels }: Labelled, own: readonly string[]) =>
    own.reduce((product, label) => product * tensor.shape[labels.indexOf(label)], 1);
  const dims = ({ tensor, labels }: Labelled, own: readonly string[]) =>
    own.map((label) => tensor.shape[labels.indexOf(label)]);
  const [rows, terms, columns] = [size(a, left), size(a, gone), size(b, right)];
  const x = reshape(ordered(a, orderA), [...dims(a, batch), ...(transposeA ? [terms, rows] : [rows, terms])]);
  const y = reshape(ordered(b, orderB), [...dims(b, batch), ...(transposeB ? [columns, terms] : [terms, columns])]);
  const product = matmul(x, y, { transposeA, transposeB });
  return reshape(product, [...product.shape.slice(0, -2), ...dims(a, left), ...dims(b, right)]);
}

/** @throws ArgumentError if there are more operands than pairs can be compared in reasonable time */
export function checkCount(op: string, operands: readonly unknown[]): void {
  if (operands.length > 64) throw new ArgumentError(op, 'at most 64 operands', `${operands.length}`);
}
