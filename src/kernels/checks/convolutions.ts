// The checks of convolutions on tensor cores, and of those for sm_90a.
import { WeightProduct } from '../../autograd/gradient_parts.ts';
import type { Device } from '../../device/device.ts';
import type { CheckResult, FastCheck } from '../../device/fast_builds.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { hopperCut, hopperWeightPartials } from '../conv/hopper_weight_gradients.ts';
import { type ConvEpilogue, type ConvShape, convShapeOf, inputShape, outputShape, weightShape } from '../conv/shape.ts';
import { sumAxes } from '../inner/reduction.ts';
import { Draw, exactly, inCheck } from './draw.ts';
import { hopperProductsCheck } from './hopper_products.ts';

/** The functions of conv/cuda.ts. */
export interface Passes {
  forward(x: Tensor, weight: Tensor, shape: ConvShape, epilogue: ConvEpilogue, second?: Tensor): Tensor;
  inputGradient(dy: Tensor, weight: Tensor, shape: ConvShape, scale: number): Tensor;
  weightGradient(x: Tensor, dy: Tensor, shape: ConvShape, scale: number, second?: Tensor): Tensor;
}

type Item = { gradient: WeightProduct<ConvShape> };
/** The function of conv/weight_gradients.ts. */
type PartialsOf = (items: readonly Item[]) => (Item & { partials: Tensor })[];

/** A kernel that is not square, images that end within tiles, borders; the last one has channels that are not in whole chunks. */
const layers: readonly ConvShape[] = [
  convShapeOf([3, 5, 6, 64], [128, 2, 3, 64], { paddings: [1, 2] }),
  convShapeOf([2, 9, 8, 128], [192, 3, 3, 128], { paddings: [1, 1] }),
  convShapeOf([1, 7, 9, 5], [11, 3, 3, 5], { paddings: [1, 1] }),
];

/** The same for few channels on one side (conv/few.ts): one of its tiles does not end with the image, and one is at its border. */
const few: readonly ConvShape[] = [
  convShapeOf([2, 9, 11, 3], [64, 3, 3, 3], { paddings: [1, 1] }),
  convShapeOf([1, 13, 35, 64], [3, 2, 3, 64], { paddings: [1, 1] }),
];

/** More tiles of 256 rows than multiprocessors, and twice as many of 128, so that blocks go from tile to tile and take turns. */
const manyTiles = ({ workers }: Device) => convShapeOf([2 * workers + 1, 8, 16, 64], [128, 1, 1, 64]);

/** All passes of convolutions, with everything that is fused with the first. */
export function convolutionCheck(passes: Passes): FastCheck {
  return (device, build, seed) =>
    inCheck(() => {
      const draw = new Draw(device, build, seed);
      if ('conv_few_widen' in build.kernels) return few.flatMap((shape) => compute(passes, draw, shape));
      if (build.target === undefined) return layers.flatMap((shape) => compute(passes, draw, shape));
      const shapes = [...layers.slice(0, -1), manyTiles(device)];
      return [
        ...shapes.flatMap((shape) => compute(passes, draw, shape)),
        ...together(passes, draw, shapes),
        ...hopperProductsCheck(passes, draw),
      ];
    });
}

/** An image in two parts, between which the channels are divided. */
function inParts(draw: Draw, { batch, height, width, channels }: ConvShape): Tensor[] {
  const first = channels > 64 ? 64 : 2;
  return [first, channels - first].map((count) => draw.tensor([batch, height, width, count]));
}

function compute({ forward, inputGradient, weightGradient }: Passes, draw: Draw, shape: ConvShape): CheckResult[] {
  const [x, w, dy] = [inputShape(shape), weightShape(shape), outputShape(shape)].map((dims) => draw.tensor(dims));
  const epilogue = {
    bias: draw.tensor([shape.outputs], 'f32'),
    add: draw.tensor([shape.batch, shape.outputs]),
    residual: draw.tensor(outputShape(shape)),
    scale: 0.5,
  };
  const [first, second] = inParts(draw, shape);
  return [
    exactly('a convolution of an image in two parts', forward(first, w, shape, { scale: 1 }, second)),
    exactly('the weight gradient of an image in two parts', weightGradient(first, dy, shape, 1, second)),
    exactly('a convolution', forward(x, w, shape, { scale: 1 })),
    exactly('a convolution with all addends', forward(x, w, shape, epilogue)),
    exactly('the input gradient of a convolution', inputGradient(dy, w, shape, 0.5)),
    exactly('the weight gradient of a convolution', weightGradient(x, dy, shape, 0.5)),
  ];
}

/** Weight gradients of several layers in one launch for sm_90a. */
function together({ weightGradient }: Passes, draw: Draw, shapes: readonly ConvShape[]): CheckResult[] {
  const items = shapes.map((shape) => {
    const [x, second] = shape.channels > 64 ? inParts(draw, shape) : [draw.tensor(inputShape(shape))];
    return { x, second, dy: draw.tensor(outputShape(shape)), shape };
  });
  const { tensorMaps } = draw.device;
  const cut = tensorMaps && hopperCut(draw.device, shapes);
  const gradients = cut
    ? hopperWeightPartials(tensorMaps, items, cut).map((partials) => sumAxes(partials, [0]))
    : items.map(({ x, second, dy, shape }) => weightGradient(x, dy, shape, 1, second));
  return gradients.map((gradient) => exactly('a weight gradient among several', gradient));
}

/** Weight gradients of several layers in a launch. */
export function weightGradientsCheck(partialsOf: PartialsOf): FastCheck {
  return (device, build, seed) =>
    inCheck(() => {
      const draw = new Draw(device, build, seed);
      const items = layers.map((shape) => {
        const [x, second] = inParts(draw, shape);
        return { gradient: new WeightProduct(x, draw.tensor(outputShape(shape)), shape, 1, second) };
      });
      return partialsOf(items).map(({ partials }) => {
        const sum = sumAxes(partials, [0]);
        partials.dispose();
        return exactly('a weight gradient among several', sum);
      });
    });
}
