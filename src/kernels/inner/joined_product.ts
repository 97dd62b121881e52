// The gradient of a tensor that several layers read, on CUDA: the sum of dy_e W_e as one product.
import type { PendingProduct } from '../../autograd/gradient_parts.ts';
import { checkedBy } from '../../device/fast_builds.ts';
import { allocate } from '../../tensor/allocate.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperProducts } from '../conv/products_on_cards.ts';
import { inChunks, productBuilds, productLaunchOf, productModules } from '../launch/product.ts';
import type { Activation } from '../launch/storage.ts';
import { halvesOf, padTo } from '../launch/words.ts';
import { accumulate } from './accumulate.ts';
import { sumAxes } from './reduction.ts';

/** Words of a table passed by value, and words of one of its entries: see joined_product.cu. */
const TABLE = 576;
const WORDS = 6;
const MOST = Math.floor(TABLE / WORDS);

const modules = productModules('kernels/inner/joined_product.cu', {
  joined_product: `words:${TABLE} i32 ptr i32 i32 i32 i32 i32 i32`,
});
checkedBy(productBuilds(modules), async () => (await import('../checks/products.ts')).joinedCheck(joinedProduct));

/** The sum of one or more products with equal rows and inputs: [..., inputs] in their dtype. */
export function joinedProduct(pairs: readonly PendingProduct[]): Tensor {
  if (pairs.length > MOST) {
    const sum = joinedProduct(pairs.slice(0, MOST));
    const rest = joinedProduct(pairs.slice(MOST));
    accumulate(sum, rest);
    rest.dispose();
    return sum;
  }
  const [{ dy, weight }] = pairs;
  const { device } = dy;
  const dtype = dy.dtype as Activation;
  const columns = weight.shape[1];
  const rows = dy.size / weight.shape[0];
  const shape = [...dy.shape.slice(0, -1), columns];
  const [outputs] = weight.shape;
  if (pairs.every((pair) => pair.weight.shape[0] === outputs)) {
    const product = { pairs: pairs.map((pair) => [pair.dy, pair.weight] as const) };
    const sizes = { batches: 1, rows, columns, terms: outputs, orders: [false, false], steps: [0, 0] } as const;
    const fast = hopperProducts([product], sizes, { shape, dtype });
    if (fast) return fast[0];
  }
  let terms = 0;
  const words = pairs.flatMap((pair) => {
    const first = terms;
    terms += pair.weight.shape[0];
    return [...halvesOf(pair.dy.address), ...halvesOf(pair.weight.address), first, pair.weight.shape[0]];
  });
  const chunked =
    (pairs.every((pair) => inChunks(pair.dy, pair.weight.shape[0])) ? 1 : 0) +
    (pairs.every((pair) => inChunks(pair.weight, columns)) ? 2 : 0);
  if (rows * columns === 0) return allocate(shape, { device, dtype });
  const { kernels, launchGrid, parts, run } = productLaunchOf(modules, dy, { rows, columns, terms }, true);
  const to = parts === 1 ? allocate(shape, { device, dtype }) : allocate([parts, ...shape], { device });
  const sizes = [to.address, rows, terms, columns, run, to.dtype === 'f32' ? 1 : 0, chunked];
  kernels.joined_product(launchGrid, ...padTo(words, TABLE), pairs.length, ...sizes);
  if (parts === 1) return to;
  const sum = sumAxes(to, [0], 1, dtype);
  to.dispose();
  return sum;
}
