// The kernels behind autograd/arithmetic.ts.
import type { GradientArithmetic } from '../../autograd/arithmetic.ts';
import { loadWith } from '../../device/companions.ts';
import { allocate } from '../../tensor/allocate.ts';
import { accumulate, accumulateScaled, assertFinite } from './accumulate.ts';
import { convertDtype } from './conversion.ts';
import { joinedProduct } from './joined_product.ts';
import { columnsOf } from './strided.ts';

let leafGradients: typeof import('./leaf_gradients.ts') | undefined;
loadWith('cuda', async () => {
  leafGradients = await import('./leaf_gradients.ts');
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
  sumProducts: joinedProduct,
  assertFinite,
  deferredGradients: (device) =>
    leafGradients && device.kind === 'cuda' ? new leafGradients.LeafGradients() : undefined,
};
