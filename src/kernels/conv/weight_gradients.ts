// Weight gradients of convolutions and matrix products, many in one launch on CUDA.
import type { WeightProduct } from '../../autograd/flow.ts';
import type { CudaLaunchers } from '../../device/module.ts';
import { empty } from '../../tensor/create.ts';
import { keep } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { inChunks, launchOf, type ProductLaunch, productModules } from '../product.ts';

/** Words of a table by value, all entries together, and of an entry: see weight_gradients.cu. */
const TABLE = 880;
const WORDS = 11;

type Names = 'conv_weight_gradients';

export const weightGradientModules = productModules<Names>(import.meta.url, './weight_gradients.cu', {
  conv_weight_gradients: `words:${TABLE} i32`,
});

interface Planned extends ProductLaunch<Names> {
  gradient: WeightProduct;
  /** [parts, ...weight]. */
  partials: Tensor;
}

/** Each with its partial sums [parts, Cout kh kw Cin], f32, which the caller owns. */
export function partialsOf<Item extends { gradient: WeightProduct }>(
  items: readonly Item[],
): (Item & { partials: Tensor })[] {
  const groups = new Map<CudaLaunchers<Names>, Planned[]>();
  const made = items
    .filter(({ gradient: { x, dy } }) => x.size > 0 && dy.size > 0)
    .map((item) => {
      const { gradient } = item;
      const [, , , inputs, , , outputs, height, width] = gradient.table;
      const columns = height * width * inputs;
      const product = { rows: outputs, columns, terms: gradient.dy.size / outputs };
      const launch = launchOf(weightGradientModules, gradient.x, product, true);
      const partials = keep(empty([launch.parts, outputs * columns], { device: gradient.x.device }));
      const group = groups.get(launch.kernels);
      if (group) group.push({ ...launch, gradient, partials });
      else groups.set(launch.kernels, [{ ...launch, gradient, partials }]);
      return { ...item, partials };
    });
  for (const group of groups.values()) launchGroup(group);
  return made;
}

function launchGroup(group: readonly Planned[]): void {
  const most = Math.floor(TABLE / WORDS);
  for (let from = 0; from < group.length; from += most) {
    const some = group.slice(from, from + most);
    let blocks = 0;
    const words = some.flatMap(({ gradient: { x, dy, table }, partials, run, parts, geometry }) => {
      const first = blocks;
      blocks += geometry.grid[0] * parts;
      const pointers = [x.address, dy.address, partials.address, x.device.table(table)];
      const chunked = (inChunks(dy, table[6]) ? 1 : 0) + (inChunks(x, table[3]) ? 2 : 0);
      return [
        ...pointers.flatMap((address) => [address % 2 ** 32, Math.floor(address / 2 ** 32)]),
        run,
        chunked,
        first,
      ];
    });
    while (words.length < TABLE) words.push(0);
    some[0].kernels.conv_weight_gradients({ ...some[0].geometry, grid: [blocks] }, ...words, some.length);
  }
}
