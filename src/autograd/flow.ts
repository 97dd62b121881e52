// What flows back along an edge of the graph beside plain tensors. Rules may give these where they are told that they may:
//   Flow              factor * tensor, or columns of it, and sums that whoever made it has found on the way
//   ProductFlow       a matrix product that is yet to be computed
//   SumOfTerms, ...   a leaf's gradient that is yet to be computed, together with others
import type { Tensor } from '../tensor/tensor.ts';

/** Sums of a gradient [N, ..., C] over everything between: [N, C]. */
export interface PixelSums {
  /** f32. */
  exact: Tensor;
  /** In the gradient's dtype. */
  rounded: Tensor;
}

/** Some elements of the last axis. */
export interface Columns {
  offset: number;
  count: number;
}

/** The gradient factor * tensor, or that of some columns of it. */
export class Flow {
  readonly tensor: Tensor;
  readonly factor: number;
  /** Default: all. */
  readonly columns: Columns | undefined;
  /** Of `tensor`. */
  readonly pixelSums: PixelSums | undefined;
  /** What its parent had so far is part of it. */
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

  /** Whether it is its tensor. */
  get plain(): boolean {
    return this.factor === 1 && this.columns === undefined;
  }

  /** The same with tensors of its own. */
  map(f: (t: Tensor) => Tensor): Flow {
    const { tensor, factor, columns, pixelSums, joined } = this;
    const sums = pixelSums && { exact: f(pixelSums.exact), rounded: f(pixelSums.rounded) };
    return new Flow(f(tensor), { factor, columns, pixelSums: sums, joined });
  }

  dispose(): void {
    this.tensor.dispose();
    this.pixelSums?.exact.dispose();
    this.pixelSums?.rounded.dispose();
  }
}

/** The gradient dy weight, dy [..., outputs] and weight [outputs, inputs] of one dtype, on CUDA: several of one tensor are one product. */
export class ProductFlow {
  readonly dy: Tensor;
  readonly weight: Tensor;

  constructor(dy: Tensor, weight: Tensor) {
    this.dy = dy;
    this.weight = weight;
  }

  map(f: (t: Tensor) => Tensor): ProductFlow {
    return new ProductFlow(f(this.dy), f(this.weight));
  }

  dispose(): void {
    this.dy.dispose();
    this.weight.dispose();
  }
}

/** Whether nothing else sees its memory. */
export function isExclusive(t: Tensor): boolean {
  return t.storage.references === 1;
}

/** scale times the sum over the first axis of `terms`, f32. */
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

/** scale times the sum over all axes of dy but the last: the gradient of a bias. */
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

/** scale times a convolution's weight gradient; of a matrix product, that of a convolution of single pixels. */
export class WeightProduct<ConvShape = unknown> {
  readonly x: Tensor;
  readonly dy: Tensor;
  /** The sizes of the convolution, which only kernels read: conv/shape.ts. */
  readonly shape: ConvShape;
  readonly scale: number;

  constructor(x: Tensor, dy: Tensor, shape: ConvShape, scale = 1) {
    this.x = x;
    this.dy = dy;
    this.shape = shape;
    this.scale = scale;
  }

  map(f: (t: Tensor) => Tensor): WeightProduct<ConvShape> {
    return new WeightProduct(f(this.x), f(this.dy), this.shape, this.scale);
  }

  dispose(): void {
    this.x.dispose();
    this.dy.dispose();
  }
}

/** What a rule may give for a leaf whose gradient may be late. */
export type Deferred = SumOfTerms | SumOfRows | WeightProduct;

export function isDeferred(result: Tensor | Flow | ProductFlow | Deferred): result is Deferred {
  return result instanceof SumOfTerms || result instanceof SumOfRows || result instanceof WeightProduct;
}
