/** Reference of sums of products: a loop over the values of all labels. */
import { type Array64, at, count, generate, indexOf } from './array.ts';

/** The label of each axis; the axes of "..." are numbered from the last one on. */
function labelsOf(term: string, rank: number): string[] {
  const [before, after] = term.split('...');
  if (after === undefined) return [...before];
  const extra = rank - before.length - after.length;
  return [...before, ...Array.from({ length: extra }, (_, i) => `#${extra - i}`), ...after];
}

export function einsum(equation: string, operands: readonly Array64[]): Array64 {
  const [left, right] = equation.replaceAll(' ', '').split('->');
  const terms = left.split(',').map((term, i) => labelsOf(term, operands[i].shape.length));
  const all = [...new Set(terms.flat())];
  const ellipsis = all.filter((label) => label.startsWith('#')).sort((a, b) => b.localeCompare(a));
  const once = all.filter(
    (label) => terms.flat().filter((other) => other === label).length === 1 && label.length === 1,
  );
  const output =
    right === undefined
      ? [...ellipsis, ...once.sort()]
      : labelsOf(right, right.replace('...', '').length + ellipsis.length);
  const extents = all.map((label) => {
    const found = terms.flatMap((labels, i) =>
      labels.flatMap((l, axis) => (l === label ? operands[i].shape[axis] : [])),
    );
    return found.find((extent) => extent !== 1) ?? 1;
  });
  const extentOf = (label: string) => extents[all.indexOf(label)];
  const summed = all.filter((label) => !output.includes(label));
  const terminal = summed.map(extentOf);
  return generate(output.map(extentOf), (place) => {
    let total = 0;
    for (let k = 0; k < count(terminal); k++) {
      const inner = indexOf(k, terminal);
      const numberOf = (label: string) => {
        const axis = output.indexOf(label);
        return axis >= 0 ? place[axis] : inner[summed.indexOf(label)];
      };
      let product = 1;
      operands.forEach((operand, i) => {
        product *= at(
          operand,
          terms[i].map((label, axis) => (operand.shape[axis] === 1 ? 0 : numberOf(label))),
        );
      });
      total += product;
    }
    return total;
  });
}
