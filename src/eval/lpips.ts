// LPIPS: perceptual distance of two images, learned from human judgements; lower is more similar. It is differentiable
// with respect to both images.
//
//   d(a, b) = sum over 5 layers l of  mean over pixels of  sum over channels c of  w_lc (a_lc / |a_l| - b_lc / |b_l|)^2
//
// a_l are the features of VGG16 after the last ReLU before each pooling, and after the last ReLU of all; |.| is the
// norm over the channels of a pixel, w_l are the published heads.
//
// Source: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (2018), with version 0.1
// of the heads and torchvision's trunk.

import { fileURLToPath } from 'node:url';
import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { conv2d } from '../kernels/conv/conv.ts';
import { add, div, maximum, relu, sqrt, square, sub } from '../kernels/elementwise.ts';
import { matmul } from '../kernels/matmul.ts';
import { reshape } from '../kernels/movement.ts';
import { checkOperands } from '../kernels/op.ts';
import { maxPool2d } from '../kernels/pooling.ts';
import { mean, sum } from '../kernels/reduce.ts';
import { checkState } from '../nn/module.ts';
import { tensor } from '../tensor/create.ts';
import { keep, scope } from '../tensor/scope.ts';
import { sameShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkStateArrays, type FixedConv, fixedConv, readStateArrays, type StateArrays } from './weights.ts';

/** The convolutions of VGG16 by their index in torchvision's `features`, and the channels, for each layer of LPIPS. */
const layers = [
  { convs: [0, 2], channels: 64 },
  { convs: [5, 7], channels: 128 },
  { convs: [10, 12, 14], channels: 256 },
  { convs: [17, 19, 21], channels: 512 },
  { convs: [24, 26, 28], channels: 512 },
] as const;

// Mean and standard deviation of ImageNet for images in [-1, 1], rounded as in the published code.
const SHIFT = [-0.03, -0.088, -0.188];
const SCALE = [0.458, 0.448, 0.45];
const EPS = 1e-10;
// Too small to affect any result, but keeps the derivative of the root finite if all channels are 0.
const SMALLEST = 1e-36;
const SMALLEST_SIDE = 16;

const headName = (layer: number) => `lin${layer}.model.1.weight`;

/**
 * The names and shapes of the trunk's state dict in torchvision: `features.0.weight`, ...
 * @example
 * vgg16State().get('features.0.weight'); // [64, 3, 3, 3]
 */
export function vgg16State(): Map<string, readonly number[]> {
  const state = new Map<string, readonly number[]>();
  let inputs = 3;
  for (const { convs, channels } of layers)
    for (const number of convs) {
      state.set(`features.${number}.weight`, [channels, inputs, 3, 3]).set(`features.${number}.bias`, [channels]);
      inputs = channels;
    }
  return state;
}

export interface LpipsOptions {
  device: Device;
  /** The name of the trunk's file in errors. */
  origin?: string;
}

interface LoadOptions {
  device: Device;
  /** A file of heads; default: the published heads, which the package contains. */
  heads?: string;
}

const lpipsOptions: OptionKinds<LpipsOptions> = { device: deviceKind, origin: kinds.text };
const loadOptions: OptionKinds<LoadOptions> = { device: deviceKind, heads: kinds.path };

/**
 * LPIPS, a perceptual distance of two images, learned from human judgements (Zhang et al. 2018); lower is more similar. It is
 * differentiable with respect to both images, and stays on its device until it is disposed.
 * @example
 * const device = await openDevice('cpu');
 * const lpips = await Lpips.load('vgg16-397923af.pth', { device });
 * const [a, b] = [1, 2].map((seed) => clamp(randn([4, 64, 64, 3], { seed }), { min: -1, max: 1 }));
 * const distances = await lpips.forward(a, b).data();
 * lpips[Symbol.dispose]();
 */
export class Lpips implements Disposable {
  readonly device: Device;
  private readonly convs = new Map<number, FixedConv>();
  /** [channels, 1] */
  private readonly heads: Tensor[];
  private readonly shift: Tensor;
  private readonly scale: Tensor;

  /**
   * @param trunk VGG16's state dict by torchvision's names; the classifier is ignored
   * @param heads the state dict of the published heads
   * @throws FileError that lists the missing and unknown names and the wrong shapes
   */
  constructor(trunk: StateArrays, heads: StateArrays, options: LpipsOptions) {
    const { device, origin = 'state' } = checkOptions('Lpips', options, lpipsOptions, ['device']);
    checkState('Lpips', trunk);
    checkState('Lpips', heads);
    const features = new Map([...trunk].filter(([name]) => !name.startsWith('classifier.')));
    checkStateArrays(origin, "VGG16's features", vgg16State(), features);
    const headState = new Map(layers.map(({ channels }, layer) => [headName(layer), [1, channels, 1, 1]]));
    checkStateArrays('the heads', 'LPIPS on VGG16', headState, heads);
    const array = (arrays: StateArrays, name: string) =>
      arrays.get(name) as NonNullable<ReturnType<StateArrays['get']>>;
    this.device = device;
    for (const number of layers.flatMap(({ convs }) => [...convs])) {
      const bias = array(features, `features.${number}.bias`).data;
      this.convs.set(number, fixedConv(array(features, `features.${number}.weight`), bias, device));
    }
    this.heads = keep(
      layers.map(({ channels }, layer) => tensor(array(heads, headName(layer)).data, { shape: [channels, 1], device })),
    );
    this.shift = keep(tensor(SHIFT, { device }));
    this.scale = keep(tensor(SCALE, { device }));
  }

  /**
   * Loads the distance.
   * @param trunk torchvision's `vgg16-397923af.pth`
   * @param options.heads a file of heads; default: the published heads, which the package contains
   * @throws FileError for any other file
   */
  static async load(trunk: string, options: LoadOptions): Promise<Lpips> {
    const { device, heads: file } = checkOptions<LoadOptions>('Lpips.load', options, loadOptions, ['device']);
    // The package root is two levels up from both src/eval and dist/eval.
    const published = fileURLToPath(new URL('../../assets/lpips/vgg_v0.1.pth', import.meta.url));
    const heads = await readStateArrays(file ?? published);
    return new Lpips(await readStateArrays(trunk), heads, { device, origin: trunk });
  }

  /**
   * The distance of each pair of images.
   * @param a [N, H, W, 3] in [-1, 1], H and W at least 16
   * @param b in [-1, 1], with the shape of a
   * @returns [N]
   */
  forward(a: Tensor, b: Tensor): Tensor {
    checkOperands('lpips', [a, b]);
    const fits = a.rank === 4 && a.shape[3] === 3 && Math.min(a.shape[1], a.shape[2]) >= SMALLEST_SIDE;
    if (!fits || !sameShape(a.shape, b.shape))
      throw new ShapeError(
        'lpips',
        `two batches of images [N, H, W, 3] of at least ${SMALLEST_SIDE} x ${SMALLEST_SIDE}`,
        `${formatShape(a.shape)} and ${formatShape(b.shape)}`,
      );
    return scope(() => {
      const ofB = this.features(b);
      return this.features(a)
        .map((x, layer) => this.layerDistance(x, ofB[layer], layer))
        .reduce((total, distance) => add(total, distance));
    });
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    for (const { weight, bias } of this.convs.values()) {
      weight.dispose();
      bias.dispose();
    }
    for (const t of [...this.heads, this.shift, this.scale]) t.dispose();
  }

  /** The features of each layer, normalised to unit length over the channels. */
  private features(images: Tensor): Tensor[] {
    let x = div(sub(images, this.shift), this.scale);
    return layers.map(({ convs }, layer) => {
      x = scope(() => {
        const pooled = layer === 0 ? x : maxPool2d(x, { kernel: 2 });
        return convs.reduce((h, number) => {
          const { weight, bias } = this.convs.get(number) as FixedConv;
          return relu(conv2d(h, weight, { bias, padding: 1 }));
        }, pooled);
      });
      return scope(() => {
        const length = sqrt(maximum(sum(square(x), { axes: 3, keepDims: true }), SMALLEST));
        return div(x, add(length, EPS));
      });
    });
  }

  /** The weighted squared difference, summed over channels and averaged over pixels: [N]. */
  private layerDistance(a: Tensor, b: Tensor, layer: number): Tensor {
    const [n, h, w, c] = a.shape;
    return scope(() => {
      const weighted = matmul(reshape(square(sub(a, b)), [n * h * w, c]), this.heads[layer]);
      return mean(reshape(weighted, [n, h * w]), { axes: 1 });
    });
  }
}
