// The kernels behind autograd/arithmetic.ts.
import type { GradientArithmetic } from '../../autograd/arithmetic.ts';
import { loadWith } from '../../device/companions.ts';
import { DeviceError } from '../../errors.ts';
import { allocate } from '../../tensor/allocate.ts';
import { accumulate, accumulateScaled, assertFinite } from './accumulate.ts';
import { convertDtype } from './conversion.ts';
import { columnsOf } from './strided.ts';

let leafGradients: typeof import('./leaf_gradients.ts') | undefined;
let joined: typeof import('./joined_product.ts') | undefined;
loadWith('cuda', async () => {
  [joined, leafGradients] = await Promise.all([import('./joined_product.ts'), import('./leaf_gradients.ts')]);
});

export const gradientArithmetic: Omit<GradientArithmetic, 'identity'> = {
  convert: convertDtype,
  accumulate,
  accumulateScaled: (target, value, factor) => accumulateScaled(target, target, value, factor),
  scale(x, factor) {
    const product = allocate(x.shape, { device: x.device, dtype: x.dtype });
    accumulateScaled(product, undefined, x, factor);
    return product;
  },
  copyColumns: columnsOf,
  sumProducts(products) {
    if (!joined) throw new DeviceError('products of gradients are summed on cards only, once one has opened');
    return joined.joinedProduct(products);
  },
  assertFinite,
  deferredGradients: (device) =>
    leafGradients && device.kind === 'cuda' ? new leafGradients.LeafGradients() : undefined,
};
