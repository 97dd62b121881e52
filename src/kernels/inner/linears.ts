// Several linear layers on one tensor: x W_e^T + b_e for each. On CUDA the forward pass is one launch, and the gradient
// of x is one product (joined_product.ts). Used for q, k and v of attention and for the projections of the time
// embedding.
import { checkedBy } from '../../device/fast_builds.ts';
import { formatShape, ShapeError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { sameShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperProducts } from '../conv/products_on_cards.ts';
import { inChunks, productBuilds, productLaunchOf, productModules } from '../launch/product.ts';
import type { Activation } from '../launch/storage.ts';
import { halvesOf, padTo } from '../launch/words.ts';
import { matmul, matmulOp } from '../matmul.ts';
import { apply, checkActivations, checkOperands, checkSameDevice } from '../op.ts';
import { withWeight } from './weight.ts';

/** Words of a table passed by value, and words of one of its entries: see linears.cu. */
const TABLE = 576;
const WORDS = 8;
const MOST = TABLE / WORDS;

const modules = productModules('kernels/inner/linears.cu', {
  linears_forward: `words:${TABLE} i32 ptr i32 i32 i32`,
});
checkedBy(productBuilds(modules), async () => (await import('../checks/products.ts')).linearsCheck(linears));

export interface LinearLayer {
  /** [outputs, inputs], of x's dtype or f32. */
  weight: Tensor;
  /** [outputs] f32. */
  bias: Tensor;
}

/**
 * matmul(x, weight, { transposeB: true, bias }) for each layer.
 * @param x [..., inputs], f32, or on CUDA bf16
 * @returns [..., outputs] each
 */
export function linears(x: Tensor, layers: readonly LinearLayer[]): Tensor[] {
  const device = checkActivations('linears', [x]);
  if (device.kind !== 'cuda' || x.size === 0)
    return layers.map(({ weight, bias }) => matmul(x, weight, { transposeB: true, bias }));
  if (layers.length > MOST) return [...linears(x, layers.slice(0, MOST)), ...linears(x, layers.slice(MOST))];
  const inputs = x.shape[x.rank - 1];
  for (const { weight, bias } of layers) {
    checkOperands('linears', [bias]);
    checkSameDevice('linears', x, bias);
    if (weight.rank !== 2 || weight.shape[1] !== inputs || !sameShape(bias.shape, [weight.shape[0]]))
      throw new ShapeError(
        'linears',
        `weights [outputs, ${inputs}] and biases [outputs]`,
        `${formatShape(weight.shape)} and ${formatShape(bias.shape)}`,
      );
  }
  return withWeights(
    layers.map(({ weight }) => weight),
    x,
    (weights) => launch(x, layers, weights),
  );
}

function launch(x: Tensor, layers: readonly LinearLayer[], weights: readonly Tensor[]): Tensor[] {
  const outputs = onHopper(x, layers, weights) ?? onAnyCard(x, layers, weights);
  return outputs.map((y, i) => {
    const { weight, bias } = layers[i];
    const attributes = { transposeA: false, transposeB: true, dtypeB: weight.dtype as Activation };
    return apply(matmulOp, y, { parents: [x, weight, bias], saved: [x, weights[i]], attributes });
  });
}

/** All layers in one launch of sm_90a's kernels, if these support them. */
function onHopper(x: Tensor, layers: readonly LinearLayer[], weights: readonly Tensor[]): Tensor[] | undefined {
  const [columns, terms] = weights[0]?.shape ?? [];
  if (!columns || weights.some(({ shape }) => shape[0] !== columns)) return undefined;
  const products = weights.map((weight, i) => ({ pairs: [[x, weight]] as const, bias: layers[i].bias }));
  const sizes = { batches: 1, rows: x.size / terms, columns, terms, orders: [false, true], steps: [0, 0] } as const;
  return hopperProducts(products, sizes, { shape: [...x.shape.slice(0, -1), columns], dtype: x.dtype });
}

function onAnyCard(x: Tensor, layers: readonly LinearLayer[], weights: readonly Tensor[]): Tensor[] {
  const { device, dtype } = x;
  const inputs = x.shape[x.rank - 1];
  const rows = x.size / inputs;
  const columns = Math.max(...weights.map(({ shape }) => shape[0]));
  // The tile is chosen for the widest layer; all layers together fill the GPU.
  const { kernels, launchGrid } = productLaunchOf(modules, x, { rows, columns, terms: inputs, batches: layers.length });
  // The edge of the tile: 32 for the exact product; the others have two threads per row.
  const edge = launchGrid.shared ? launchGrid.block[0] / 2 : 32;
  const tilesOf = (width: number) => Math.ceil(rows / edge) * Math.ceil(width / edge);
  let blocks = 0;
  const outputs = weights.map(({ shape }) => allocate([...x.shape.slice(0, -1), shape[0]], { device, dtype }));
  const words = weights.flatMap((weight, i) => {
    const first = blocks;
    blocks += tilesOf(weight.shape[0]);
    const pointers = [weight.address, layers[i].bias.address, outputs[i].address];
    return [...pointers.flatMap(halvesOf), weight.shape[0], first];
  });
  const chunked = (inChunks(x, inputs) ? 1 : 0) + (weights.every((weight) => inChunks(weight, inputs)) ? 2 : 0);
  kernels.linears_forward(
    { ...launchGrid, grid: [blocks] },
    ...padTo(words, TABLE),
    layers.length,
    x.address,
    rows,
    inputs,
    chunked,
  );
  return outputs;
}

/** Calls withWeight for several weights. */
function withWeights<Result>(
  weights: readonly Tensor[],
  x: Tensor,
  f: (prepared: readonly Tensor[]) => Result,
  prepared: readonly Tensor[] = [],
): Result {
  if (prepared.length === weights.length) return f(prepared);
  return withWeight('linears', weights[prepared.length], x, (weight) =>
    withWeights(weights, x, f, [...prepared, weight]),
  );
}
