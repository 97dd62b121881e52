// The gradients that have arrived at the outputs of nodes, and how they are summed. Sums are made in the order of
// arrival, in place where no other tensor shares the memory.
import { allocate } from '../tensor/allocate.ts';
import { dtypes } from '../tensor/dtype.ts';
import { keep } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';
import { arithmetic } from './arithmetic.ts';
import { type GradientPart, isExclusive, PendingProduct, ScaledGradient } from './gradient_parts.ts';
import type { Edge, GraphNode } from './graph.ts';

/** Owns the parts of the gradients of every node that has not run its rule yet. */
export class PendingGradients {
  /** For each output of a node the parts whose sum is its gradient; at most one of them is plain, on CUDA two. */
  private readonly parts = new Map<GraphNode, GradientPart[][]>();

  /** Adds to the gradient of an output of `node`. Takes over ownership of `part`. */
  add(node: GraphNode, output: number, part: GradientPart): void {
    let arrived = this.parts.get(node);
    if (!arrived) {
      arrived = Array.from({ length: node.outputs }, () => []);
      this.parts.set(node, arrived);
    }
    const parts = arrived[output];
    if (part instanceof ScaledGradient && part.joined) for (const included of parts.splice(0)) included.dispose();
    const plain = parts.filter(isPlain);
    if (!isPlain(part) || plain.length < mostPlain(part)) {
      parts.push(part);
      return;
    }
    // In the order of arrival: the first two, or the one and the new one.
    const [first, second = part] = plain;
    const rest = parts.filter((one) => one !== first && one !== second);
    const sum = new ScaledGradient(sumParts(first, second));
    parts.splice(0, parts.length, sum, ...rest, ...(second === part ? [] : [part]));
  }

  /**
   * The gradient of each output of `node`, null for an output that has received none; undefined if the node has
   * received none. They stay owned by this object.
   */
  gradientsOf(node: GraphNode): (ScaledGradient | null)[] | undefined {
    return this.parts.get(node)?.map((parts) => {
      combine(parts, 1);
      return (parts[0] as ScaledGradient | undefined) ?? null;
    });
  }

  /** Replaces the gradient of an output of `node`. Takes over ownership of `tensor`. */
  replace(node: GraphNode, output: number, tensor: Tensor): ScaledGradient {
    const arrived = this.parts.get(node) as GradientPart[][];
    for (const part of arrived[output]) part.dispose();
    const replaced = new ScaledGradient(tensor);
    arrived[output] = [replaced];
    return replaced;
  }

  /**
   * What parent i of a node has received from other nodes, for a rule that adds it to its own result: at most two
   * parts. None for a leaf, and for a parent that is listed twice.
   */
  receivedBy(edges: readonly Edge[], i: number): readonly ScaledGradient[] {
    const edge = edges[i];
    if (!edge || 'leaf' in edge) return [];
    const twice = edges.some((e, j) => j !== i && e && 'node' in e && e.node === edge.node && e.output === edge.output);
    if (twice) return [];
    const parts = this.parts.get(edge.node)?.[edge.output] ?? [];
    combine(parts, 2);
    return parts as ScaledGradient[];
  }

  /** Frees the gradients of a node. */
  free(node: GraphNode): void {
    const arrived = this.parts.get(node);
    this.parts.delete(node);
    for (const part of arrived?.flat() ?? []) part.dispose();
  }

  /** Frees all. */
  dispose(): void {
    for (const node of this.parts.keys()) this.free(node);
  }
}

/** The plain tensor of a gradient, which the caller owns; `part` stays as it is. */
export function referenceTo(part: GradientPart): Tensor {
  const plain = keep(plainTensor(part));
  return part instanceof ScaledGradient && plain === part.tensor ? alias(plain) : plain;
}

/** The plain tensor of a gradient, which the caller owns; `part` is consumed. */
export function takeTensor(part: GradientPart): Tensor {
  const owned = referenceTo(part);
  part.dispose();
  return owned;
}

/** A gradient in the form that a rule takes: plain, unless the rule takes factors. Columns are always copied out. */
export function prepareGradient(gradient: ScaledGradient, takesScaled: boolean): ScaledGradient {
  if (gradient.plain || (takesScaled && !gradient.columns)) return gradient;
  return new ScaledGradient(plainTensor(gradient));
}

/** The tensor of a plain gradient itself, or a new tensor. */
function plainTensor(part: GradientPart): Tensor {
  const { sumProducts, copyColumns, scale } = arithmetic();
  if (part instanceof PendingProduct) return sumProducts([part]);
  const { tensor, factor, columns } = part;
  const whole = columns ? copyColumns(tensor, columns) : tensor;
  if (factor === 1) return whole;
  const scaled = scale(whole, factor);
  if (whole !== tensor) whole.dispose();
  return scaled;
}

/** The sum of two tensors, which are consumed; computed in place where no other tensor shares the memory of one. */
export function sumOf(a: Tensor, b: Tensor): Tensor {
  const [target, other] = isExclusive(a) ? [a, b] : isExclusive(b) ? [b, a] : [copyOf(a), b];
  arithmetic().accumulate(target, other);
  for (const t of [a, b]) if (t !== target) t.dispose();
  return target;
}

/** A copy that no scope owns. */
export function copyOf(t: Tensor): Tensor {
  const copy = keep(allocate(t.shape, { device: t.device, dtype: t.dtype }));
  t.device.copy(copy.address, t.address, t.size * dtypes[t.dtype].bytes);
  return copy;
}

/** Sums parts in place until at most `most` are left, each a ScaledGradient. */
function combine(parts: GradientPart[], most: number): void {
  const products = parts.filter((part) => part instanceof PendingProduct);
  if (products.length > 0) {
    const rest = parts.filter((part) => part instanceof ScaledGradient);
    const sum = keep(arithmetic().sumProducts(products));
    for (const product of products) product.dispose();
    parts.splice(0, parts.length, ...rest, new ScaledGradient(sum));
  }
  const scaled = parts as ScaledGradient[];
  while (scaled.length > most) scaled.splice(0, 2, new ScaledGradient(sumParts(scaled[0], scaled[1])));
}

/** On CUDA a rule may add two gradients to its own in one kernel: see BackwardContext.join. */
const mostPlain = ({ tensor }: ScaledGradient) => (tensor.device.kind === 'cuda' ? 2 : 1);

function isPlain(part: GradientPart): part is ScaledGradient {
  return part instanceof ScaledGradient && part.plain;
}

/** The sum of two gradients, which are consumed. One that has a factor is added to a plain one in a single pass. */
function sumParts(a: ScaledGradient, b: ScaledGradient): Tensor {
  const [target, other] = a.plain ? [a, b] : [b, a];
  if (!target.plain || other.plain || other.columns || !isExclusive(target.tensor))
    return sumOf(takeTensor(a), takeTensor(b));
  arithmetic().accumulateScaled(target.tensor, other.tensor, other.factor);
  other.dispose();
  return takeTensor(target);
}
