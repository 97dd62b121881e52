// Products of matrices on sm_90a for the ops that use them: their code is loaded when a card opens (device/companions.ts).
import { loadWith } from '../../device/companions.ts';

type Products = typeof import('./hopper_products.ts');

let products: Products | undefined;
loadWith('cuda', async () => {
  products = await import('./hopper_products.ts');
});

/** hopperProducts() of hopper_products.ts; undefined without a card. */
export const hopperProducts: Products['hopperProducts'] = (...values) => products?.hopperProducts(...values);
