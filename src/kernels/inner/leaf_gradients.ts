// Deferred gradients of leaves: they are collected during backward and computed many at a time. Weight gradients of
// convolutions and matrix products share grouped launches (conv/weight_gradients.ts); one more launch adds the results
// to the leaves. Deferred gradients keep their tensors alive, so the total is bounded.
import type { DeferredGradients } from '../../autograd/arithmetic.ts';
import { type DeferredGradient, SumOfRows, SumOfTerms, type WeightProduct } from '../../autograd/gradient_parts.ts';
import type { Device } from '../../device/device.ts';
import type { LaunchGrid } from '../../device/module.ts';
import { allocate } from '../../tensor/allocate.ts';
import { dtypes } from '../../tensor/dtype.ts';
import { keep } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { ConvShape } from '../conv/shape.ts';
import { partialsOf } from '../conv/weight_gradients.ts';
import { type Activation, kernelsFor, storageModules } from '../launch/storage.ts';
import { bitsOf, halvesOf, inPieces, padTo } from '../launch/words.ts';

/** Words of a table passed by value, and words of one of its entries: see leaf_gradients.cu. */
const TABLE = 960;
const WORDS = 8;
const THREADS = 256;
/** Elements of a thread of leaf_gradients_add, and the bit of its count that says that the target is not read. */
const FOUR = 4;
const WRITTEN = 2 ** 31;
/** Rows that one thread adds. */
const ROWS_RUN = 128;

const leafGradientModules = storageModules('kernels/inner/leaf_gradients.cu', {
  leaf_gradients_add: `words:${TABLE} i32`,
  leaf_gradients_rows: `words:${TABLE} i32`,
});

/** The most bytes that deferred products keep alive, and the most that deferred sums of rows do. */
const MOST_WAITING = 800 * 2 ** 20;
const MOST_ROWS = 256 * 2 ** 20;
/** The most bytes of terms that wait to be added; all those of the official networks do. */
const MOST_TERMS = 768 * 2 ** 20;

interface Waiting<Gradient extends DeferredGradient> {
  target: Tensor;
  gradient: Gradient;
}

/** The deferred gradients of one backward pass, on CUDA. */
export class LeafGradients implements DeferredGradients {
  private terms: Waiting<SumOfTerms>[] = [];
  private rows: Waiting<SumOfRows>[] = [];
  private products: Waiting<WeightProduct<ConvShape>>[] = [];

  /** target += gradient, at the latest in the next flush. Takes over ownership of `gradient`. */
  add(target: Tensor, gradient: DeferredGradient): void {
    if (gradient instanceof SumOfTerms) this.terms.push({ target, gradient });
    else if (gradient instanceof SumOfRows) this.rows.push({ target, gradient });
    else this.products.push({ target, gradient: gradient as WeightProduct<ConvShape> });
    if (bytesOf(this.rows) > MOST_ROWS) this.sumRows();
    if (bytesOf(this.products) > MOST_WAITING) this.multiply();
    if (bytesOf(this.terms) > MOST_TERMS) this.addTerms();
  }

  flush(): void {
    this.sumRows();
    this.multiply();
    this.addTerms();
  }

  /** Frees the gradients that are still deferred; after a flush there are none. */
  dispose(): void {
    for (const { gradient } of [...this.terms, ...this.rows, ...this.products]) gradient.dispose();
    [this.terms, this.rows, this.products] = [[], [], []];
  }

  /** Sums rows to terms. */
  private sumRows(): void {
    this.terms.push(...sumsOfRows(this.rows));
    this.rows = [];
  }

  /** Computes products, as terms. */
  private multiply(): void {
    const { products } = this;
    this.products = [];
    for (const { target, gradient, partials } of partialsOf(products)) {
      this.terms.push({ target, gradient: new SumOfTerms(partials, gradient.scale) });
      gradient.dispose();
    }
  }

  private addTerms(): void {
    const { terms } = this;
    this.terms = [];
    addTerms(terms);
    for (const { gradient } of terms) gradient.dispose();
  }
}

function bytesOf(waiting: readonly Waiting<DeferredGradient>[]): number {
  let bytes = 0;
  for (const { gradient } of waiting)
    gradient.map((t) => {
      bytes += t.size * dtypes[t.dtype].bytes;
      return t;
    });
  return bytes;
}

/** The partial sums of all of them, as terms. */
function sumsOfRows(waiting: readonly Waiting<SumOfRows>[]): Waiting<SumOfTerms>[] {
  const made: Waiting<SumOfTerms>[] = [];
  for (const dtype of ['f32', 'bf16'] as const) {
    const entries = waiting
      .filter(({ gradient }) => gradient.dy.dtype === dtype && gradient.dy.size > 0)
      .map(({ target, gradient: { dy, scale } }) => {
        const columns = dy.shape[dy.rank - 1];
        const rows = dy.size / columns;
        const terms = keep(allocate([Math.ceil(rows / ROWS_RUN), columns], { device: dy.device }));
        made.push({ target, gradient: new SumOfTerms(terms, scale) });
        return { pointers: [terms.address, dy.address], sizes: [rows, columns], last: ROWS_RUN, threads: terms.size };
      });
    if (entries.length > 0) launchInTables(waiting[0].target.device, dtype, 'leaf_gradients_rows', entries);
  }
  for (const { gradient } of waiting) gradient.dispose();
  return made;
}

/** Adds terms to their targets, one after the other for each target. The first that a zeroed target receives are written. */
function addTerms(waiting: readonly Waiting<SumOfTerms>[]): void {
  const rounds: Map<Tensor, SumOfTerms>[] = [];
  for (const { target, gradient } of waiting) {
    if (target.size === 0) continue;
    const round = rounds.find((one) => !one.has(target));
    if (round) round.set(target, gradient);
    else rounds.push(new Map([[target, gradient]]));
  }
  for (const round of rounds) {
    const entries = [...round].map(([target, { terms, scale }]) => {
      const written = target.isCleared ? WRITTEN : 0;
      target.isCleared = false;
      return {
        pointers: [target.address, terms.address],
        sizes: [target.size, terms.size / target.size + written],
        last: bitsOf(scale),
        threads: Math.ceil(target.size / FOUR),
      };
    });
    launchInTables(waiting[0].target.device, 'f32', 'leaf_gradients_add', entries);
  }
}

interface Entry {
  pointers: readonly number[];
  sizes: readonly number[];
  /** The word after the index of the first block. */
  last: number;
  threads: number;
}

function launchInTables(
  device: Device,
  dtype: Activation,
  kernel: keyof (typeof leafGradientModules)['f32']['kernels'],
  entries: readonly Entry[],
): void {
  for (const some of inPieces(entries, Math.floor(TABLE / WORDS))) {
    let blocks = 0;
    const words = some.flatMap(({ pointers, sizes, last, threads }) => {
      const first = blocks;
      blocks += Math.ceil(threads / THREADS);
      return [...pointers.flatMap(halvesOf), ...sizes, first, last];
    });
    const launchGrid: LaunchGrid = { grid: [blocks], block: [THREADS] };
    kernelsFor(leafGradientModules, device, dtype)[kernel](launchGrid, ...padTo(words, TABLE), some.length);
  }
}
