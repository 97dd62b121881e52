// Launches of the CUDA convolution kernels.
import { checkedBy } from '../../device/fast_builds.ts';
import { allocate } from '../../tensor/allocate.ts';
import { zeros } from '../../tensor/create.ts';
import { type Shape, sizeOf } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { view } from '../../tensor/view.ts';
import { sumAxes } from '../inner/reduction.ts';
import { channelsInChunks, inChunks, productBuilds, productLaunchOf } from '../launch/product.ts';
import { fewForward, fewInputGradient, fewModule, fewWeightPartials, servesFew } from './few.ts';
import { groupedForward, groupedInputGradient, groupedWeightPartials } from './grouped.ts';
import { hopperBuilds, hopperForward, hopperInputGradient, hopperMaps, hopperTile, partsSuitHopper } from './hopper.ts';
import { hopperCut, hopperWeightPartials } from './hopper_weight_gradients.ts';
import { convCuda } from './modules.ts';
import {
  type ConvEpilogue,
  type ConvShape,
  channelsOf,
  inputShape,
  isDense,
  outputShape,
  toTable,
  weightShape,
} from './shape.ts';

const passes = { forward: convForward, inputGradient: convInputGradient, weightGradient: convWeightGradient };
checkedBy([...productBuilds(convCuda), fewModule, ...hopperBuilds.map(({ module }) => module)], async () =>
  (await import('../checks/convolutions.ts')).convolutionCheck(passes),
);

/** The kernel argument `chunked`: bit 1 for the left operand, 2 for the right. */
const bits = (left: boolean, right: boolean) => (left ? 1 : 0) + (right ? 2 : 0);

/**
 * @param weight of x's dtype
 * @param second the last channels of a dense convolution's image, if x has the first only
 */
export function convForward(
  x: Tensor,
  weight: Tensor,
  shape: ConvShape,
  epilogue: ConvEpilogue,
  second?: Tensor,
): Tensor {
  const { device, dtype } = x;
  const out = outputShape(shape);
  const { bias, add, residual, scale } = epilogue;
  if (sizeOf(out) === 0) return allocate(out, { device, dtype });
  if (!isDense(shape)) return groupedForward(x, weight, shape, epilogue);
  const maps = partsSuitHopper(x, second) ? hopperMaps(shape, [x, second, weight, add, residual], bias) : undefined;
  const tile = maps && hopperTile(device, shape, 'forward');
  if (maps && tile) return hopperForward(maps, x, weight, shape, { ...epilogue, second }, tile);
  if (!second && !add && !residual && servesFew(shape, [x])) return fewForward(x, weight, shape, epilogue);
  const y = allocate(out, { device, dtype });
  const { outputs: columns, channels } = shape;
  const product = { rows: y.size / columns, columns, terms: weight.size / columns };
  const { kernels, launchGrid } = productLaunchOf(convCuda, x, product);
  const addends = [bias, add, residual].map((t) => t?.address ?? 0);
  const operands = [x.address, weight.address, y.address, ...addends, device.table(toTable(shape)), scale];
  const chunked = bits(channelsInChunks(x, second), inChunks(weight, channels));
  kernels.conv_forward(launchGrid, ...operands, chunked, second?.address ?? 0, channelsOf(x));
  return y;
}

/** @param weight of dy's dtype */
export function convInputGradient(dy: Tensor, weight: Tensor, shape: ConvShape, scale: number): Tensor {
  const { device, dtype } = dy;
  const image = inputShape(shape);
  if (sizeOf(image) === 0) return allocate(image, { device, dtype });
  if (!isDense(shape)) return groupedInputGradient(dy, weight, shape, scale);
  const maps = hopperMaps(shape, [dy, weight]);
  const tile = maps && hopperTile(device, shape, 'input');
  if (maps && tile) return hopperInputGradient(maps, dy, weight, shape, scale, tile);
  if (servesFew(shape, [dy])) return fewInputGradient(dy, weight, shape, scale);
  const dx = allocate(image, { device, dtype });
  const { outputs, channels } = shape;
  const product = { rows: dx.size / channels, columns: channels, terms: weight.size / channels };
  const { kernels, launchGrid } = productLaunchOf(convCuda, dy, product);
  const operands = [dy.address, weight.address, dx.address, device.table(toTable(shape)), scale];
  kernels.conv_input_gradient(launchGrid, ...operands, bits(inChunks(dy, outputs), inChunks(weight, channels)));
  return dx;
}

/** The weight gradient, in f32 for any dtype of x and dy. @param second see convForward */
export function convWeightGradient(x: Tensor, dy: Tensor, shape: ConvShape, scale: number, second?: Tensor): Tensor {
  const { device } = x;
  const weight = weightShape(shape);
  if (x.size === 0 || dy.size === 0) return zeros(weight, { device });
  if (!isDense(shape)) return sumPartials(groupedWeightPartials(x, dy, shape), weight, scale);
  const maps = partsSuitHopper(x, second) ? hopperMaps(shape, [x, second, dy]) : undefined;
  const cut = maps && hopperCut(device, [shape]);
  if (maps && cut) return sumPartials(hopperWeightPartials(maps, [{ x, second, dy, shape }], cut)[0], weight, scale);
  if (!second && servesFew(shape, [x, dy])) return sumPartials(fewWeightPartials(x, dy, shape), weight, scale);
  const { outputs } = shape;
  const product = { rows: outputs, columns: sizeOf(weight) / outputs, terms: dy.size / outputs };
  const { kernels, launchGrid, parts, run } = productLaunchOf(convCuda, x, product, true);
  const partials = allocate([parts, sizeOf(weight)], { device });
  const operands = [x.address, dy.address, partials.address, device.table(toTable(shape)), run];
  const chunked = bits(inChunks(dy, outputs), channelsInChunks(x, second));
  kernels.conv_weight_gradient(launchGrid, ...operands, chunked, second?.address ?? 0, channelsOf(x));
  return sumPartials(partials, weight, scale);
}

/** scale times the sum of partial sums [parts, size], which it disposes. */
function sumPartials(partials: Tensor, shape: Shape, scale: number): Tensor {
  if (partials.shape[0] === 1 && scale === 1) return view(partials, shape);
  const sum = sumAxes(partials, [0], scale);
  partials.dispose();
  return view(sum, shape);
}
