// Group normalisation (Wu, He 2018), fused with what follows it in a residual block: SiLU, dropout, and resampling by
// two. Several inputs are treated as their concatenation along channels.
import { checkOptions, isWhole, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { jvp } from '../autograd/forward.ts';
import { isExclusive, ScaledGradient, SumOfTerms } from '../autograd/gradient_parts.ts';
import { checkedBy } from '../device/fast_builds.ts';
import { kernelModule } from '../device/module.ts';
import { formatShape, ShapeError } from '../errors.ts';
import { allocate } from '../tensor/allocate.ts';
import { zeros } from '../tensor/create.ts';
import { dtypes } from '../tensor/dtype.ts';
import { sameShape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { view } from '../tensor/view.ts';
import { cast } from './cast.ts';
import { add, div, mul, silu, sqrt, square, sub } from './elementwise.ts';
import { chunkedPass, groupNormChunks } from './inner/group_norm_chunks.ts';
import { DRAW, groupNormCuda, groupNormSlices, maskWithKeys, slicedPass } from './inner/group_norm_slices.ts';
import { sumAxes } from './inner/reduction.ts';
import { type Activation, kernelsFor } from './launch/storage.ts';
import { bitsOf, halvesOf } from './launch/words.ts';
import { concat, reshape } from './movement.ts';
import { apply, checkActivations, checkOperands, checkSameDevice, declareOp } from './op.ts';
import {
  assertSameMask,
  checkDropout,
  type DrawnMask,
  type DropoutOptions,
  drawnMask,
  drawOf,
  dropout,
  dropoutWords,
} from './random.ts';
import { mean } from './reduce.ts';
import { downsampleMean, upsampleNearest } from './resample.ts';

const groupNormKernels = kernelModule('kernels/group_norm.c', {
  group_norm_forward: `ptr ptr ptr ptr ptr ptr ptr f32 ${DRAW}`,
  group_norm_backward: `ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr ${DRAW}`,
});

const fastBuilds = [groupNormSlices, groupNormChunks].flatMap((builds) => Object.values(builds));
checkedBy(fastBuilds, async () => (await import('./checks/norms.ts')).groupNormCheck(groupNorm));

/** The fewest bytes of a pixel that a CUDA block reads (unless a pixel has fewer), and the most groups of a block. */
const LEAST_PIECE = 32;
const MOST_GROUPS = 16;

/**
 * The kernel of a pass on CUDA, its launch, the arguments by which it knows the sizes, and the form in which it takes a mask.
 * @param x of the dtype of activations
 * @param inEights whether eight channels of each operand are at addresses that are multiples of 16 bytes
 */
function cudaPass(
  pass: 'forward' | 'backward',
  x: Tensor,
  shape: NormShape,
  { masked, inEights }: { masked: boolean; inEights: boolean },
) {
  const { device } = x;
  const dtype = x.dtype as Activation;
  const table = toTable(shape);
  const operands = { device, dtype, table };
  const fast = inEights && (slicedPass(pass, shape, { ...operands, masked }) ?? chunkedPass(pass, shape, operands));
  if (fast) return { ...fast, maskOf: maskWithKeys };
  const { batch, firstChannels, secondChannels, groups } = shape;
  const groupBytes = ((firstChannels + secondChannels) / groups) * dtypes[dtype].bytes;
  const piece = Math.min(groups, MOST_GROUPS, Math.ceil(LEAST_PIECE / groupBytes));
  const launchGrid = { grid: [batch * Math.ceil(groups / piece)], block: [256] } as const;
  const run = kernelsFor(groupNormCuda, device, dtype)[`group_norm_${pass}`];
  return { run, sizes: [device.table(table), piece], launchGrid, maskOf: (words: readonly number[]) => words };
}

const isAligned = ({ address }: Tensor) => address % 16 === 0;
/** Whether eight channels of a gradient that was received are aligned at each pixel. */
function isAlignedInEights({ tensor, columns }: ScaledGradient): boolean {
  return isAligned(tensor) && (columns?.offset ?? 0) % 8 === 0 && tensor.shape[tensor.rank - 1] % 8 === 0;
}

export interface GroupNormOptions {
  groups: number;
  /** Added to the variance, not negative; default 1e-6. */
  eps?: number;
  /** Default 'none'. */
  activation?: 'none' | 'silu';
  /** Zeroes activated elements with probability p, with the mask that dropout() makes from the same options. */
  dropout?: DropoutOptions;
  /** 'up': nearest neighbour by 2; 'down': mean of 2 x 2. Only for images [N, H, W, C]. Default 'none'. */
  resample?: 'none' | 'up' | 'down';
}

const groupNormOptions: OptionKinds<GroupNormOptions> = {
  groups: kinds.number,
  eps: kinds.notNegative,
  activation: oneOf(['none', 'silu']),
  dropout: kinds.object,
  resample: oneOf(['none', 'up', 'down']),
};

/** The sizes of a normalisation of [batch, height, width, channels] and of the fused ops after it. */
export interface NormShape {
  batch: number;
  /** 1 for x that is not an image; `width` is then the number of its positions. */
  height: number;
  width: number;
  /** Channels of the two parts of x; those of the second are 0 if x has one part. */
  firstChannels: number;
  secondChannels: number;
  groups: number;
  resample: 'none' | 'up' | 'down';
  activation: 'none' | 'silu';
}

/** The order in which the kernels read the sizes: see norm_of in group_norm.c. */
export const normTableOrder = [
  'batch',
  'height',
  'width',
  'firstChannels',
  'secondChannels',
  'groups',
  'resample',
  'activation',
] as const satisfies readonly (keyof NormShape)[];

function toTable(shape: NormShape): number[] {
  const resample = { none: 0, up: 1, down: 2 }[shape.resample];
  const numbers = { ...shape, resample, activation: shape.activation === 'silu' ? 1 : 0 };
  return normTableOrder.map((name) => numbers[name]);
}

export interface GroupNormAttributes {
  shape: NormShape;
  eps: number;
  dropout: DrawnMask | undefined;
}

/** The arguments for no dropout: threshold 0, scale 1. */
const NO_DROPOUT = [0, 0, 0, 0, 0, 0, 0, 1];

function maskWords(dropout: DropoutOptions | undefined): readonly number[] {
  return dropout ? dropoutWords('groupNorm', dropout) : NO_DROPOUT;
}

export const groupNormOp = declareOp<GroupNormAttributes>({
  name: 'groupNorm',
  cpu: groupNormKernels,
  cuda: groupNormCuda,
  backward({ grad, saved: [weight, bias, stats, ...parts], attributes: { shape, dropout }, needs, defers, join }) {
    const { device } = weight;
    if (dropout) assertSameMask('groupNorm', dropout);
    const words = maskWords(dropout);
    const channels = weight.size;
    const samples = shape.batch;
    // If there are no pixels, no kernel runs and the sums are 0.
    const sums = (grad.size > 0 ? allocate : zeros)([2, samples, channels], { device });
    const [x0, x1 = 0] = parts.map((part) => part.address);
    const inputs = [x0, x1, weight.address, bias.address, stats.address, grad.address];
    const result = (which: 0 | 1) => {
      if (!needs[which]) return null;
      const terms = view(sums, [samples, channels], which * samples * channels);
      return defers[which] ? new SumOfTerms(terms) : sumAxes(terms, [0]);
    };
    if (device.kind !== 'cuda' || grad.size === 0) {
      const gradients = parts.map((part) => allocate(part.shape, { device, dtype: part.dtype }));
      const [dx0, dx1 = 0] = gradients.map((gradient) => gradient.address);
      if (grad.size > 0)
        device
          .load(groupNormKernels)
          .group_norm_backward(...inputs, dx0, dx1, sums.address, device.table(toTable(shape)), ...words);
      return [result(0), result(1), ...gradients];
    }
    // The kernel also adds the gradients that x has already received, in place if nothing else reads their memory.
    const others = parts.map((_, i) => (needs[2 + i] ? join(2 + i) : []));
    const joined = parts.map(({ shape: dims, dtype }, i) => {
      const free = others[i].find(({ tensor, columns }) => !columns && isExclusive(tensor));
      const tensor = free?.tensor ?? allocate(dims, { device, dtype });
      const [n, width] = [samples, dims[dims.length - 1]];
      const pixelSums = { exact: allocate([n, width], { device }), rounded: allocate([n, width], { device, dtype }) };
      return new ScaledGradient(tensor, { pixelSums, joined: others[i].length > 0 });
    });
    const inEights =
      [weight, bias, grad, ...parts, ...joined.map(({ tensor }) => tensor)].every(isAligned) &&
      others.flat().every(isAlignedInEights);
    const { run, sizes, launchGrid, maskOf } = cudaPass('backward', grad, shape, {
      masked: dropout !== undefined,
      inEights,
    });
    run(
      launchGrid,
      ...inputs,
      sums.address,
      ...addressesOf(joined.map(({ tensor }) => tensor)),
      ...receivedWords(others),
      ...addressesOf(joined.map(({ pixelSums }) => pixelSums?.exact)),
      ...addressesOf(joined.map(({ pixelSums }) => pixelSums?.rounded)),
      ...sizes,
      ...maskOf(words),
    );
    return [result(0), result(1), ...joined];
  },
  tangent({ parents, tangents, attributes }) {
    const tensors = parents as Tensor[];
    const moving = tensors.flatMap((_, i) => (tangents[i] ? [i] : []));
    const [, tangent] = jvp(
      (...given) =>
        inOps(
          tensors.map((t, i) => given[moving.indexOf(i)] ?? t),
          attributes,
        ),
      moving.map((i) => tensors[i]),
      moving.map((i) => tangents[i] as Tensor),
    );
    return tangent;
  },
});

/** The whole op in ops without a fused kernel, for its tangent. */
function inOps(
  [weight, bias, ...parts]: readonly Tensor[],
  { shape, eps, dropout: mask }: GroupNormAttributes,
): Tensor {
  const joined = parts.length === 1 ? parts[0] : concat(parts, -1);
  const x = cast(joined, 'f32');
  const { batch, groups, activation, resample } = shape;
  const grouped = reshape(x, [batch, sizeOf(x.shape.slice(1, -1)), groups, weight.size / groups]);
  const axes = [1, 3];
  const centred = sub(grouped, mean(grouped, { axes, keepDims: true }));
  const deviation = sqrt(add(mean(square(centred), { axes, keepDims: true }), eps));
  const affine = add(mul(reshape(div(centred, deviation), x.shape), weight), bias);
  const activated = activation === 'silu' ? silu(affine) : affine;
  const kept = mask ? dropout(activated, mask.p, drawOf(mask)) : activated;
  const y = resample === 'up' ? upsampleNearest(kept, 2) : resample === 'down' ? downsampleMean(kept, 2) : kept;
  return cast(y, joined.dtype);
}

/** The addresses of a tensor for each of two parts of x; 0 for the second if x has one part. */
function addressesOf([first, second]: readonly (Tensor | undefined)[]): [number, number] {
  return [first?.address ?? 0, second?.address ?? 0];
}

/** Kernel arguments of the gradients that each part of x has already received: two for each of two parts. */
function receivedWords([first = [], second = []]: readonly (readonly ScaledGradient[])[]): number[] {
  return [...wordsOf(first[0]), ...wordsOf(first[1]), ...wordsOf(second[0]), ...wordsOf(second[1])];
}

/**
 * Kernel arguments of a gradient to add: two words of its address (0 for none), its factor, its stride between pixels.
 */
function wordsOf(gradient: ScaledGradient | undefined): number[] {
  if (!gradient) return [0, 0, 0, 0];
  const { tensor, factor, columns } = gradient;
  const address = tensor.address + (columns?.offset ?? 0) * dtypes[tensor.dtype].bytes;
  return [...halvesOf(address), bitsOf(factor), tensor.shape[tensor.rank - 1]];
}

/**
 * Normalises groups of channels of each sample to mean 0 and variance 1 over all positions, then applies weight and
 * bias.
 * @param x [N, ..., C], or two tensors treated as their concatenation along C; f32, or on CUDA bf16
 * @param weight [C] f32
 * @param bias [C] f32
 * @example
 * const x = reshape(arange(0, 4), [1, 1, 1, 4]);
 * groupNorm(x, ones([4]), zeros([4]), { groups: 2 }); // [[[[-1, 1, -1, 1]]]]
 */
export function groupNorm(
  x: Tensor | readonly Tensor[],
  weight: Tensor,
  bias: Tensor,
  options: GroupNormOptions,
): Tensor {
  const given = Array.isArray(x) ? [...(x as Tensor[])] : [x as Tensor];
  const parts = given.length > 2 ? [given[0], concat(given.slice(1), -1)] : given;
  const device = checkActivations('groupNorm', parts);
  checkOperands('groupNorm', [weight, bias]);
  checkSameDevice('groupNorm', parts[0], weight);
  const checked = checkOptions('groupNorm', options, groupNormOptions, ['groups']);
  const { groups, eps = 1e-6, activation = 'none', resample = 'none' } = checked;
  const dropout = checked.dropout && checkDropout('groupNorm dropout', checked.dropout);
  const [first] = parts;
  const channels = parts.reduce((sum, part) => sum + (part.shape[part.rank - 1] ?? 0), 0);
  const shapes = parts.map((part) => formatShape(part.shape)).join(' and ');
  if (parts.some((part) => part.rank < 2 || !sameShape(part.shape.slice(0, -1), first.shape.slice(0, -1))))
    throw new ShapeError('groupNorm', 'x [N, ..., C], parts that differ only in C', shapes);
  if (!isWhole(groups, 1) || channels % groups)
    throw new ShapeError('groupNorm', `channels divisible into ${groups} groups`, shapes);
  for (const [name, t] of Object.entries({ weight, bias }))
    if (!sameShape(t.shape, [channels]))
      throw new ShapeError('groupNorm', `a ${name} [${channels}] for x ${shapes}`, formatShape(t.shape));
  const out = resampledShape([...first.shape.slice(0, -1), channels], resample);
  const [batch, ...rest] = first.shape;
  const [height, width] = first.rank === 4 ? rest : [1, sizeOf(rest.slice(0, -1))];
  const [firstChannels, secondChannels = 0] = parts.map((part) => part.shape[part.rank - 1]);
  const shape: NormShape = { batch, height, width, firstChannels, secondChannels, groups, resample, activation };
  const words = maskWords(dropout);
  const y = allocate(out, { device, dtype: first.dtype });
  const stats = allocate([3, batch, groups], { device });
  const inputs = [first.address, parts[1]?.address ?? 0];
  if (y.size > 0 && device.kind === 'cuda') {
    const operands = [...inputs, weight.address, bias.address, stats.address, y.address];
    const { run, sizes, launchGrid, maskOf } = cudaPass('forward', y, shape, {
      masked: dropout !== undefined,
      inEights: [weight, bias, y, ...parts].every(isAligned),
    });
    run(launchGrid, ...operands, ...sizes, eps, ...maskOf(words));
  } else if (y.size > 0) {
    const operands = [weight.address, bias.address, y.address, stats.address, device.table(toTable(shape))];
    device.load(groupNormKernels).group_norm_forward(...inputs, ...operands, eps, ...words);
  }
  apply(groupNormOp, y, {
    parents: [weight, bias, ...parts],
    saved: [weight, bias, stats, ...parts],
    attributes: { shape, eps, dropout: dropout && drawnMask(dropout) },
  });
  stats.dispose();
  return y;
}

function resampledShape(shape: number[], resample: 'none' | 'up' | 'down'): number[] {
  if (resample === 'none') return shape;
  const [n, h, w, c] = shape;
  if (shape.length !== 4) throw new ShapeError('groupNorm', 'images [N, H, W, C] to resample', formatShape(shape));
  if (resample === 'up') return [n, 2 * h, 2 * w, c];
  if (h % 2 || w % 2) throw new ShapeError('groupNorm', 'even height and width to resample down', formatShape(shape));
  return [n, h / 2, w / 2, c];
}
