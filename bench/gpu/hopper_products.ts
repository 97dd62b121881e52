// The part `hopper`, continued: products of matrices on sm_90a at the sizes of attention and of its layers, with every tile, against the
// portable kernels in fp32 on the same card.
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { DeviceError } from '../../src/errors.ts';
import { hopperBuilds, type Tile } from '../../src/kernels/conv/hopper.ts';
import { hopperProbabilities, hopperSlopes } from '../../src/kernels/conv/hopper_attention.ts';
import { hopperProducts } from '../../src/kernels/conv/hopper_products.ts';
import { add, mul, sub } from '../../src/kernels/elementwise.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { softmax } from '../../src/kernels/softmax.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { differenceOf, drawRounded, numbersOf, sameBits } from './hopper.ts';
import type { ItemResult } from './results_file.ts';

/** The largest difference over the largest value, as for convolutions: results are rounded to bf16. */
const TOLERANCE = 6e-3;

export interface ProductCheck {
  name: string;
  /** What is computed from matrices [batches, rows, terms] and [batches, columns, terms]. */
  kind: 'product' | 'left transposed' | 'right transposed' | 'layers' | 'probabilities' | 'slopes';
  batches: number;
  rows: number;
  columns: number;
  terms: number;
}

/** The official network's attention at batch 128, and sizes that fill no tile. */
export function productChecks(): ProductCheck[] {
  const kinds = ['product', 'left transposed', 'right transposed', 'layers', 'probabilities', 'slopes'] as const;
  const sizes = [
    { batches: 128, rows: 256, columns: 256, terms: 256 },
    { batches: 3, rows: 320, columns: 192, terms: 448 },
  ];
  return kinds.flatMap((kind) =>
    sizes.map((size) => {
      const { batches, rows, columns, terms } = size;
      return { name: `matrices, ${kind}, ${batches} times ${rows} x ${terms} x ${columns}`, kind, ...size };
    }),
  );
}

/** @throws Error naming the tile that differs */
export function checkProducts(device: Device, portable: Device, check: ProductCheck): ItemResult {
  if (!device.tensorMaps) throw new DeviceError(`${device.description} has none of these kernels`);
  return noGrad(() =>
    scope(() => {
      const expected = scope(() => numbersOf(expectedOf(portable, check)));
      const tiles = hopperBuilds.filter(
        (tile) => !/probabilities|slopes/.test(check.kind) || tile.columns >= check.columns,
      );
      let worst = 0;
      let first: Float32Array | undefined;
      for (const tile of tiles) {
        const [got, again] = [0, 1].map(() => scope(() => numbersOf(computed(device, check, tile))));
        const off = differenceOf(got, expected);
        worst = Math.max(worst, off);
        if (!(off <= TOLERANCE))
          throw new Error(
            `tile ${tile.name} differs from the portable kernel by ${off.toExponential(2)} of the largest value`,
          );
        if (!sameBits(got, again)) throw new Error(`tile ${tile.name} gives other bits the second time`);
        first ??= got;
        if (!sameBits(got, first)) throw new Error(`tile ${tile.name} gives other bits than tile ${tiles[0].name}`);
      }
      return { values: { worst } };
    }),
  );
}

function operandsOf(device: Device, { kind, batches, rows, columns, terms }: ProductCheck) {
  const drawn = (shape: readonly number[], stream: number) => drawRounded(device, shape, 11, stream);
  const stored = (transposed: boolean, extent: number) => [
    batches,
    ...(transposed ? [terms, extent] : [extent, terms]),
  ];
  return {
    left: drawn(stored(kind === 'left transposed', rows), 0),
    right: drawn(kind === 'layers' ? [columns, terms] : stored(/product|left/.test(kind), columns), 1),
    weights: drawn([batches, rows, columns], 2),
    bias: randn([columns], { device, seed: 11, stream: 3 }),
    scale: terms ** -0.5,
  };
}

function computed(device: Device, check: ProductCheck, tile: Tile): Tensor {
  const { kind, batches, rows, columns, terms } = check;
  const { left, right, weights, bias, scale } = operandsOf(device, check);
  if (kind === 'probabilities') return hopperProbabilities(left, right, scale, tile) as Tensor;
  if (kind === 'slopes') return hopperSlopes(left, right, weights, scale, tile) as Tensor;
  const result = { shape: [batches, rows, columns], dtype: 'bf16' } as const;
  if (kind === 'layers') {
    const whole = { batches: 1, rows: batches * rows, columns, terms, orders: [false, true], steps: [0, 0] } as const;
    const products = [0, 1].map(() => ({ pairs: [[left, right]] as const, bias }));
    return (hopperProducts(products, whole, result, tile) as Tensor[])[1];
  }
  const orders = [kind === 'left transposed', kind === 'right transposed'] as const;
  const sizes = { batches, rows, columns, terms, orders, steps: [1, 1] } as const;
  const pairs = [0, 1].map(() => [left, right] as const);
  return (hopperProducts([{ pairs }], sizes, result, tile) as Tensor[])[0];
}

function expectedOf(device: Device, check: ProductCheck): Tensor {
  const { kind } = check;
  const { left, right, weights, bias, scale } = operandsOf(device, check);
  if (kind === 'layers') return matmul(left, right, { transposeB: true, bias });
  const product = matmul(left, right, {
    transposeA: kind === 'left transposed',
    transposeB: !/product|left/.test(kind),
  });
  if (kind === 'probabilities') return softmax(mul(product, scale));
  if (kind === 'slopes')
    return mul(mul(weights, sub(product, sum(mul(weights, product), { axes: 2, keepDims: true }))), scale);
  return add(product, product);
}
