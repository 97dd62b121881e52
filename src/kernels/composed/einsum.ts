// Einstein's summation convention: sums of products written as an equation of labels.
import { describeValue } from '../../arguments.ts';
import { ArgumentError, formatShape, ShapeError } from '../../errors.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkActivations } from '../op.ts';
import { checkCount, contract } from './contraction.ts';

const ELLIPSIS = '...';
const LETTERS = /^[A-Za-z]*$/;

interface Equation {
  inputs: string[];
  /** Undefined if the equation has no arrow. */
  output: string | undefined;
}

function wrong(equation: string, expected: string): ArgumentError {
  return new ArgumentError('einsum', expected, describeValue(equation));
}

/** @throws ArgumentError for anything but an equation of that many operands */
function parse(equation: string, operands: number): Equation {
  if (typeof equation !== 'string')
    throw new ArgumentError('einsum', 'an equation such as "ij,jk->ik"', describeValue(equation));
  const [left, output, ...more] = equation.replaceAll(/\s/g, '').split('->');
  if (more.length > 0) throw wrong(equation, 'an equation with at most one "->"');
  const inputs = left.split(',');
  if (inputs.length !== operands) throw wrong(equation, `an equation of ${operands} operands, separated by ","`);
  for (const term of [...inputs, output ?? ''])
    if (!LETTERS.test(term.replace(ELLIPSIS, ''))) throw wrong(equation, 'letters, and at most one "..." an operand');
  return { inputs, output };
}

/** The labels of the axes of an operand; the axes of an ellipsis are labelled from the last one on, to align there. */
function labelsOf(equation: string, term: string, { shape, rank }: Tensor): string[] {
  const [before, after] = term.split(ELLIPSIS);
  const letters = before.length + (after?.length ?? 0);
  const extra = rank - letters;
  if (extra < 0 || (extra > 0 && after === undefined))
    throw new ShapeError(
      'einsum',
      `an operand of ${after === undefined ? '' : 'at least '}${letters} axes for ${describeValue(term)} in ${describeValue(equation)}`,
      formatShape(shape),
    );
  return [...before, ...ellipsisLabels(extra), ...(after ?? '')];
}

function ellipsisLabels(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${ELLIPSIS}${count - i}`);
}

/** The labels of the result. */
function outputLabels(equation: string, { inputs, output }: Equation, stretched: number): string[] {
  const letters = [...inputs.join('').replaceAll('.', '')];
  if (output === undefined) {
    const once = letters.filter((label) => letters.indexOf(label) === letters.lastIndexOf(label));
    return [...ellipsisLabels(stretched), ...once.sort()];
  }
  const [before, after = ''] = output.split(ELLIPSIS);
  const named = [...before, ...after];
  const twice = named.find((label, i) => named.indexOf(label) < i);
  if (twice) throw wrong(equation, `each label once after "->", not "${twice}" twice`);
  const unknown = named.find((label) => !letters.includes(label));
  if (unknown) throw wrong(equation, `labels of operands after "->", not "${unknown}"`);
  return [...before, ...(output.includes(ELLIPSIS) ? ellipsisLabels(stretched) : []), ...after];
}

/**
 * A sum of products, written as an equation: each operand's axes are letters; those that are missing after `->` are
 * summed. Without `->` the result has the letters that occur once, in alphabetical order. A letter that occurs twice in
 * one operand is its diagonal. `...` stands for any axes, aligned at the last one; where the result has no `...`, they
 * are summed, as in PyTorch. An axis of extent 1 is repeated.
 *
 * It is computed by permutations, matrix products, products and sums; more than two operands in pairs, each time the
 * pair whose product grows least.
 *
 * Source: Einstein, Die Grundlage der allgemeinen Relativitaetstheorie (1916); the notation is NumPy's.
 *
 * @param operands f32, or on CUDA bf16
 * @throws ArgumentError for an equation that cannot be read; ShapeError for extents that do not fit
 * @example
 * const a = tensor([[1, 2], [3, 4]]);
 * einsum('ij,jk->ik', a, a); // [[7, 10], [15, 22]]
 * einsum('ii', a); // 5
 * einsum('bhqd,bhkd->bhqk', ones([2, 4, 8, 3]), ones([2, 4, 5, 3])).shape; // [2, 4, 8, 5]
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  checkCount('einsum', operands);
  checkActivations('einsum', operands);
  const terms = parse(equation, operands.length);
  const labelled = operands.map((tensor, i) => ({ tensor, labels: labelsOf(equation, terms.inputs[i], tensor) }));
  const stretched = Math.max(
    ...labelled.map(({ labels }) => labels.filter((label) => label.startsWith(ELLIPSIS)).length),
  );
  const output = outputLabels(equation, terms, stretched);
  return scope(() => contract('einsum', labelled, output));
}
