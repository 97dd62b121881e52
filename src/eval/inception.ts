// The Inception-v3 of the Frechet inception distance: the network of 2015 on whose features published FIDs are based.
//
//   u8 image -> x / 255 -> bilinear to 299 x 299 -> 2 x - 1 -> network -> pool3 [2048] -> logits [1008]
//
// Source: Szegedy et al., Rethinking the Inception Architecture (2016), in the version of the TensorFlow graph of
// 2015-12-05, with the names of pytorch-fid's weight file. Differences from the paper: average pooling in the branches
// does not count the border, the last block uses max pooling instead, and there are 1008 classes.

import { checkOptions, kinds, type OptionKinds } from '../arguments.ts';
import { noGrad } from '../autograd/mode.ts';
import type { Device } from '../device/device.ts';
import { deviceKind } from '../device/device.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { cast } from '../kernels/cast.ts';
import { conv2d } from '../kernels/conv/conv.ts';
import { add, mul, relu } from '../kernels/elementwise.ts';
import { matmul } from '../kernels/matmul.ts';
import { concat } from '../kernels/movement.ts';
import { checkOperands } from '../kernels/op.ts';
import { averagePool2d, maxPool2d } from '../kernels/pooling.ts';
import { mean } from '../kernels/reduce.ts';
import { resizeBilinear } from '../kernels/resize.ts';
import { checkState } from '../nn/module.ts';
import { tensor } from '../tensor/create.ts';
import { keep, scope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type InceptionConv, inceptionConvs } from './inception_layers.ts';
import {
  checkStateArrays,
  type FixedConv,
  fixedConv,
  foldBatchNorm,
  readStateArrays,
  type StateArrays,
} from './weights.ts';

const SIDE = 299;
const NORM_EPS = 1e-3;
/** Length of pool3 and of the logits. */
const FEATURES = 2048;
const CLASSES = 1008;
const NORM_PARTS = ['weight', 'bias', 'running_mean', 'running_var'] as const;
// PyTorch's count of training batches, which inference does not need and older files lack.
const IGNORED = '.num_batches_tracked';

export interface InceptionFeatures {
  /** f32 [N, 2048]: the features for FID, KID, precision and recall. */
  pool3: Tensor;
  /** f32 [N, 1008]: the logits for the Inception score. */
  logits: Tensor;
}

/**
 * The names and shapes of the state dict, in PyTorch's order.
 * @example
 * const state = inceptionState();
 * state.get('Conv2d_1a_3x3.conv.weight'); // [32, 3, 3, 3]
 * state.get('fc.weight'); // [1008, 2048]
 */
export function inceptionState(): Map<string, readonly number[]> {
  const state = new Map<string, readonly number[]>();
  for (const [name, { inputs, outputs, kernel }] of inceptionConvs) {
    state.set(`${name}.conv.weight`, [outputs, inputs, ...kernel]);
    for (const part of NORM_PARTS) state.set(`${name}.bn.${part}`, [outputs]);
  }
  return state.set('fc.weight', [CLASSES, FEATURES]).set('fc.bias', [CLASSES]);
}

interface InceptionOptions {
  device: Device;
  /** The name of the weights' file in errors. */
  origin?: string;
}

const inceptionOptions: OptionKinds<InceptionOptions> = { device: deviceKind, origin: kinds.text };

/**
 * The Inception-v3 of the Frechet inception distance, with the published weights of 2015. It stays on its device until it is disposed.
 * @example
 * const device = await openDevice('cpu');
 * const inception = await FidInception.load('pt_inception-2015-12-05-6726825d.pth', { device });
 * const { pixels, shape } = await (await Pipeline.load('runs/mine')).sample({ count: 64, seed: 1 });
 * const { pool3, logits } = await extractFeatures(inception, pixels, shape);
 * const fid = frechetDistance(gaussianOf(pool3), (await readStatistics('cifar10_stats.npz')).gaussian);
 * inception[Symbol.dispose]();
 */
export class FidInception implements Disposable {
  readonly device: Device;
  private readonly convs = new Map<string, InceptionConv & FixedConv>();
  private readonly fc: { weight: Tensor; bias: Tensor };

  /**
   * @param arrays the state dict, with exactly the names of inceptionState
   * @throws FileError that lists the missing and unknown names and the wrong shapes
   */
  constructor(arrays: StateArrays, options: InceptionOptions) {
    const { device, origin = 'state' } = checkOptions('FidInception', options, inceptionOptions, ['device']);
    checkState('FidInception', arrays);
    const used = new Map([...arrays].filter(([name]) => !name.endsWith(IGNORED)));
    checkStateArrays(origin, 'the FID Inception-v3', inceptionState(), used);
    this.device = device;
    const array = (name: string) => used.get(name) as { shape: readonly number[]; data: Float32Array };
    for (const [name, conv] of inceptionConvs) {
      const [weight, bias, runningMean, runningVar] = NORM_PARTS.map((part) => array(`${name}.bn.${part}`).data);
      const norm = { weight, bias, runningMean, runningVar };
      const folded = foldBatchNorm(array(`${name}.conv.weight`), norm, NORM_EPS);
      this.convs.set(name, { ...conv, ...fixedConv(folded, folded.bias, device) });
    }
    const { shape, data } = array('fc.weight');
    this.fc = keep({ weight: tensor(data, { shape, device }), bias: tensor(array('fc.bias').data, { device }) });
  }

  /**
   * Loads the network.
   * @param path `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid's releases
   * @throws FileError for any other file
   */
  static async load(path: string, options: { device: Device }): Promise<FidInception> {
    const { device } = checkOptions('FidInception.load', options, { device: deviceKind }, ['device']);
    return new FidInception(await readStateArrays(path), { device, origin: path });
  }

  /**
   * Computes features and logits of pixels without recording a graph.
   * @param images u8 [N, H, W, 3], of any size
   * @throws ShapeError, DtypeError
   */
  forward(images: Tensor): InceptionFeatures {
    checkOperands('inception', [images], 'u8');
    if (images.rank !== 4 || images.shape[3] !== 3)
      throw new ShapeError('inception', 'images [N, H, W, 3]', formatShape(images.shape));
    return noGrad(() =>
      scope(() => {
        const pool3 = mean(this.trunk(prepareImages(images)), { axes: [1, 2] });
        return { pool3, logits: matmul(pool3, this.fc.weight, { transposeB: true, bias: this.fc.bias }) };
      }),
    );
  }

  /** Frees the weights. */
  [Symbol.dispose](): void {
    for (const { weight, bias } of [...this.convs.values(), this.fc]) {
      weight.dispose();
      bias.dispose();
    }
  }

  /** Maps [N, 299, 299, 3] to [N, 8, 8, 2048]. Each block frees its intermediate tensors. */
  private trunk(x: Tensor): Tensor {
    const blocks: ((x: Tensor) => Tensor)[] = [
      (h) => maxPool2d(this.chain(h, '', 'Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3'), REDUCED),
      (h) => maxPool2d(this.chain(h, '', 'Conv2d_3b_1x1', 'Conv2d_4a_3x3'), REDUCED),
      ...['Mixed_5b', 'Mixed_5c', 'Mixed_5d'].map((name) => (h: Tensor) => this.blockA(h, name)),
      (h) => this.blockB(h, 'Mixed_6a'),
      ...['Mixed_6b', 'Mixed_6c', 'Mixed_6d', 'Mixed_6e'].map((name) => (h: Tensor) => this.blockC(h, name)),
      (h) => this.blockD(h, 'Mixed_7a'),
      (h) => this.blockE(h, 'Mixed_7b', meanOf),
      (h) => this.blockE(h, 'Mixed_7c', largestOf),
    ];
    return blocks.reduce((h, block) => {
      const y = scope(() => block(h));
      h.dispose();
      return y;
    }, x);
  }

  /** Applies convolutions with ReLU, one after the other. */
  private chain(x: Tensor, block: string, ...names: string[]): Tensor {
    return names.reduce((h, name) => {
      const { weight, bias, stride, padding } = this.convs.get(block ? `${block}.${name}` : name) as InceptionConv &
        FixedConv;
      return relu(conv2d(h, weight, { bias, stride, padding }));
    }, x);
  }

  private blockA(x: Tensor, block: string): Tensor {
    return concatChannels(
      this.chain(x, block, 'branch1x1'),
      this.chain(x, block, 'branch5x5_1', 'branch5x5_2'),
      this.chain(x, block, 'branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'),
      this.chain(meanOf(x), block, 'branch_pool'),
    );
  }

  private blockB(x: Tensor, block: string): Tensor {
    return concatChannels(
      this.chain(x, block, 'branch3x3'),
      this.chain(x, block, 'branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'),
      maxPool2d(x, REDUCED),
    );
  }

  private blockC(x: Tensor, block: string): Tensor {
    const double = [1, 2, 3, 4, 5].map((i) => `branch7x7dbl_${i}`);
    return concatChannels(
      this.chain(x, block, 'branch1x1'),
      this.chain(x, block, 'branch7x7_1', 'branch7x7_2', 'branch7x7_3'),
      this.chain(x, block, ...double),
      this.chain(meanOf(x), block, 'branch_pool'),
    );
  }

  private blockD(x: Tensor, block: string): Tensor {
    return concatChannels(
      this.chain(x, block, 'branch3x3_1', 'branch3x3_2'),
      this.chain(x, block, 'branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3', 'branch7x7x3_4'),
      maxPool2d(x, REDUCED),
    );
  }

  private blockE(x: Tensor, block: string, pool: (x: Tensor) => Tensor): Tensor {
    const three = this.chain(x, block, 'branch3x3_1');
    const double = this.chain(x, block, 'branch3x3dbl_1', 'branch3x3dbl_2');
    return concatChannels(
      this.chain(x, block, 'branch1x1'),
      this.chain(three, block, 'branch3x3_2a'),
      this.chain(three, block, 'branch3x3_2b'),
      this.chain(double, block, 'branch3x3dbl_3a'),
      this.chain(double, block, 'branch3x3dbl_3b'),
      this.chain(pool(x), block, 'branch_pool'),
    );
  }
}

const REDUCED = { kernel: 3, stride: 2 };
const SAME = { kernel: 3, stride: 1, padding: 1 };
const meanOf = (x: Tensor) => averagePool2d(x, { ...SAME, countIncludePad: false });
const largestOf = (x: Tensor) => maxPool2d(x, SAME);
const concatChannels = (...branches: Tensor[]) => concat(branches, 3);

/** Resizes u8 images to f32 [N, 299, 299, 3] in [-1, 1]. */
function prepareImages(images: Tensor): Tensor {
  checkOperands('inception', [images], 'u8');
  return scope(() => add(mul(resizeBilinear(mul(cast(images, 'f32'), 1 / 255), [SIDE, SIDE]), 2), -1));
}
