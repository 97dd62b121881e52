// The gradients that a backward rule may return instead of a plain tensor, so that several of them share a launch:
//   ScaledGradient    factor * tensor, or some columns of it, with sums that its producer has already computed
//   PendingProduct    a matrix product that is not computed yet
//   SumOfTerms, ...   the gradient of a leaf, which is computed later, together with those of other leaves
import type { Tensor } from '../tensor/tensor.ts';
import { alias } from '../tensor/view.ts';

/** The sums of a gradient [N, ..., C] over the axes between the first and the last: [N, C]. */
export interface PixelSums {
  /** f32. */
  exact: Tensor;
  /** In the dtype of the gradient. */
  rounded: Tensor;
}

/** A range of the last axis. */
export interface Columns {
  offset: number;
  count: number;
}

/** The gradient factor * tensor, or factor * some columns of tensor. */
export class ScaledGradient {
  readonly tensor: Tensor;
  readonly factor: number;
  /** Default: all columns. */
  readonly columns: Columns | undefined;
  /** The sums of `tensor`, without the factor. */
  readonly pixelSums: PixelSums | undefined;
  /** Whether it includes the gradients that its parent had received before. */
  readonly joined: boolean;

  constructor(
    tensor: Tensor,
    options: { factor?: number; columns?: Columns; pixelSums?: PixelSums; joined?: boolean } = {},
  ) {
    this.tensor = tensor;
    this.factor = options.factor ?? 1;
    this.columns = options.columns;
    this.pixelSums = options.pixelSums;
    this.joined = options.joined ?? false;
  }

  /** Whether the gradient is `tensor` itself. */
  get plain(): boolean {
    return this.factor === 1 && this.columns === undefined;
  }

  /** The same gradient with `f` applied to each tensor. */
  map(f: (t: Tensor) => Tensor): ScaledGradient {
    const { tensor, factor, columns, pixelSums, joined } = this;
    const sums = pixelSums && { exact: f(pixelSums.exact), rounded: f(pixelSums.rounded) };
    return new ScaledGradient(f(tensor), { factor, columns, pixelSums: sums, joined });
  }

  dispose(): void {
    this.tensor.dispose();
    this.pixelSums?.exact.dispose();
    this.pixelSums?.rounded.dispose();
  }
}

/**
 * The gradient dy weight, on CUDA: dy [..., outputs] and weight [outputs, inputs], of one dtype. All those of one
 * tensor are computed as one product.
 */
export class PendingProduct {
  readonly dy: Tensor;
  readonly weight: Tensor;

  constructor(dy: Tensor, weight: Tensor) {
    this.dy = dy;
    this.weight = weight;
  }

  map(f: (t: Tensor) => Tensor): PendingProduct {
    return new PendingProduct(f(this.dy), f(this.weight));
  }

  dispose(): void {
    this.dy.dispose();
    this.weight.dispose();
  }
}

/** One of the gradients that a tensor receives. */
export type GradientPart = ScaledGradient | PendingProduct;

/** The gradient of a leaf: scale * the sum of `terms`, f32, over the first axis. */
export class SumOfTerms {
  readonly terms: Tensor;
  readonly scale: number;

  constructor(terms: Tensor, scale = 1) {
    this.terms = terms;
    this.scale = scale;
  }

  map(f: (t: Tensor) => Tensor): SumOfTerms {
    return new SumOfTerms(f(this.terms), this.scale);
  }

  dispose(): void {
    this.terms.dispose();
  }
}

/** The gradient of a bias: scale * the sum of dy over all axes but the last. */
export class SumOfRows {
  readonly dy: Tensor;
  readonly scale: number;

  constructor(dy: Tensor, scale = 1) {
    this.dy = dy;
    this.scale = scale;
  }

  map(f: (t: Tensor) => Tensor): SumOfRows {
    return new SumOfRows(f(this.dy), this.scale);
  }

  dispose(): void {
    this.dy.dispose();
  }
}

/**
 * The gradient of a weight: scale * that of a convolution. A matrix product counts as a convolution of single pixels.
 */
export class WeightProduct<ConvShape = unknown> {
  readonly x: Tensor;
  /** The last channels of the image, where x has only the first. */
  readonly second: Tensor | undefined;
  readonly dy: Tensor;
  /** The sizes of the convolution, which only kernels read: see conv/shape.ts. */
  readonly shape: ConvShape;
  readonly scale: number;

  constructor(x: Tensor, dy: Tensor, shape: ConvShape, scale = 1, second?: Tensor) {
    this.x = x;
    this.second = second;
    this.dy = dy;
    this.shape = shape;
    this.scale = scale;
  }

  map(f: (t: Tensor) => Tensor): WeightProduct<ConvShape> {
    return new WeightProduct(f(this.x), f(this.dy), this.shape, this.scale, this.second && f(this.second));
  }

  dispose(): void {
    this.x.dispose();
    this.second?.dispose();
    this.dy.dispose();
  }
}

/** What a rule may return for a leaf whose gradient may be deferred. */
export type DeferredGradient = SumOfTerms | SumOfRows | WeightProduct;

/** What a rule may return for one parent. */
export type RuleResult = Tensor | GradientPart | DeferredGradient | null;

export function isDeferred(result: Exclude<RuleResult, null>): result is DeferredGradient {
  return result instanceof SumOfTerms || result instanceof SumOfRows || result instanceof WeightProduct;
}

/** The tensors that a rule computed, without those of deferred gradients. */
export function computedTensors(results: readonly RuleResult[]): Tensor[] {
  return results.flatMap((result) => {
    if (!result || isDeferred(result)) return [];
    return result instanceof PendingProduct ? result.dy : result instanceof ScaledGradient ? result.tensor : result;
  });
}

/** The same gradient, in new references that no scope owns. */
export function retainGradient(result: Exclude<RuleResult, null>): GradientPart | DeferredGradient {
  return ('storage' in result ? new ScaledGradient(result) : result).map((t) => alias(t));
}

/** Whether no other tensor shares its memory. */
export function isExclusive(t: Tensor): boolean {
  return t.storage.references === 1;
}
