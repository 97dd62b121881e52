// The checks of matrix products on tensor cores.
import { PendingProduct } from '../../autograd/gradient_parts.ts';
import type { CheckResult, FastCheck } from '../../device/fast_builds.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { LinearLayer } from '../inner/linears.ts';
import type { Factor } from '../matmul.ts';
import { Draw, exactly, inCheck } from './draw.ts';

/** Rows, terms and columns: beyond one tile, in whole chunks and not; and enough terms for partial sums. */
const sizes = [
  [136, 96, 144],
  [70, 33, 75],
  [40, 2100, 72],
] as const;

/** @param product of matmul.ts */
export function matmulCheck(product: (a: Factor, b: Factor, options?: { bias?: Tensor }) => Tensor): FastCheck {
  return (device, build, seed) =>
    inCheck(() => {
      const draw = new Draw(device, build, seed);
      return sizes.flatMap(([m, k, n]): CheckResult[] => {
        const [a, b] = [draw.tensor([m, k]), draw.tensor([k, n])];
        const [left, right] = [draw.tensor([2, k, m]), draw.tensor([2, n, k])];
        const bias = draw.tensor([n], 'f32');
        return [
          exactly('a matrix product', product({ tensor: a }, { tensor: b })),
          exactly('a matrix product with a bias', product({ tensor: a }, { tensor: b }, { bias })),
          exactly(
            'a matrix product with its left side transposed',
            product({ tensor: left, transposed: true }, { tensor: b }),
          ),
          exactly(
            'a matrix product with its right side transposed',
            product({ tensor: a }, { tensor: right, transposed: true }),
          ),
        ];
      });
    });
}

/** @param linears of linears.ts: several layers on one tensor */
export function linearsCheck(linears: (x: Tensor, layers: readonly LinearLayer[]) => Tensor[]): FastCheck {
  return (device, build, seed) =>
    inCheck(() => {
      const draw = new Draw(device, build, seed);
      return sizes.slice(0, 2).flatMap(([m, k, n]) => {
        const layers = [n, 8, m].map((outputs) => ({
          weight: draw.tensor([outputs, k]),
          bias: draw.tensor([outputs], 'f32'),
        }));
        return linears(draw.tensor([m, k]), layers).map((y) => exactly('one of several linear layers', y));
      });
    });
}

/** @param joined of joined_product.ts: the gradient of a tensor that several layers read */
export function joinedCheck(joined: (pairs: readonly PendingProduct[]) => Tensor): FastCheck {
  return (device, build, seed) =>
    inCheck(() => {
      const draw = new Draw(device, build, seed);
      return sizes.map(([m, k, n]) => {
        const pairs = [k, 8].map((terms) => new PendingProduct(draw.tensor([m, terms]), draw.tensor([terms, n])));
        return exactly('a sum of matrix products', joined(pairs));
      });
    });
}
