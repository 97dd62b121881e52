// The options of a UNet of the NCSN++ family (Score SDE, Song et al. 2021, appendix H), their validation, and the two
// networks of the official RectifiedFlow configurations.
import { checkOptions, kinds, listOf, type OptionKinds, oneOf, requireWhole } from '../arguments.ts';
import { ValueError } from '../errors.ts';
import { type Nonlinearity, nonlinearities } from './activation.ts';

export interface UNetOptions {
  imageSize: number;
  channels: number;
  /** Number of channels of the first level (official key model.nf). */
  baseChannels: number;
  /** Multiples of baseChannels, one per resolution level. */
  channelMultipliers: readonly number[];
  /** Number of residual blocks per level on the down path; the up path has one more per level. */
  residualBlocks: number;
  /** Resolutions (image heights) with attention; the middle of the network always has attention. */
  attentionResolutions: readonly number[];
  dropout: number;
  /** 'positional': sinusoidal (DDPM++); 'fourier': Gaussian Fourier of log t (NCSN++). */
  embedding: 'positional' | 'fourier';
  fourierScale: number;
  /** Whether the network is conditioned on t. */
  conditional: boolean;
  /** Whether data are in [-1, 1]; otherwise they are in [0, 1], and the network maps them to [-1, 1]. */
  centered: boolean;
  /** Whether to divide the sum of a block, or of a pyramid, and its shortcut by sqrt 2. */
  skipRescale: boolean;
  /** Whether to divide the output by the time label ('fourier') or by the noise scale of that index ('positional'). */
  scaleBySigma: boolean;
  /** Scale of the initialiser of last convolutions; 0 stands for 1e-10. */
  initScale: number;
  seed: number;

  /** 'biggan': residual blocks that resample; 'ddpm': resampling between blocks. Default 'biggan'. */
  resblock?: 'biggan' | 'ddpm';
  /** Default 'swish'. */
  nonlinearity?: Nonlinearity;
  /** Whether to resample with a filter instead of nearest neighbour and mean. Default false. */
  fir?: boolean;
  /** Taps of that filter along each axis. Default [1, 3, 3, 1]. */
  firKernel?: readonly number[];
  /** Whether 'ddpm' resampling has a convolution. Default true. */
  resampleWithConv?: boolean;
  /** Output pyramid: the sum of one image per level, or of the features of all levels. Default 'none'. */
  progressive?: 'none' | 'output_skip' | 'residual';
  /** Input pyramid: the downsampled image, or its features, enters each level. Default 'none'. */
  progressiveInput?: 'none' | 'input_skip' | 'residual';
  /** How 'input_skip' combines image and features. Default 'sum'. */
  progressiveCombine?: 'sum' | 'cat';
  /** Whether backward recomputes the blocks' activations instead of keeping them; bit-identical. Default false. */
  activationCheckpointing?: boolean;
  /** The noise scales, geometric from sigmaMax down to sigmaMin. Defaults: 0.01, 50 and 1000. */
  sigmaMin?: number;
  sigmaMax?: number;
  numScales?: number;
}

/** The defaults, which DDPM++ uses. */
const defaults = {
  resblock: 'biggan',
  nonlinearity: 'swish',
  fir: false,
  firKernel: [1, 3, 3, 1],
  resampleWithConv: true,
  progressive: 'none',
  progressiveInput: 'none',
  progressiveCombine: 'sum',
  activationCheckpointing: false,
  sigmaMin: 0.01,
  sigmaMax: 50,
  numScales: 1000,
} satisfies Partial<UNetOptions>;

/** DDPM++ as in the official CIFAR-10 configurations (61.8 M parameters). */
export const ddpmppCifar10: UNetOptions = {
  imageSize: 32,
  channels: 3,
  baseChannels: 128,
  channelMultipliers: [1, 2, 2, 2],
  residualBlocks: 4,
  attentionResolutions: [16],
  dropout: 0.15,
  embedding: 'positional',
  fourierScale: 16,
  conditional: true,
  centered: true,
  skipRescale: true,
  scaleBySigma: false,
  initScale: 0,
  seed: 0,
};

/** NCSN++ as in the official 256 x 256 configurations (65.6 M parameters); LSUN uses `centered: false`. */
export const ncsnpp256: UNetOptions = {
  ...ddpmppCifar10,
  imageSize: 256,
  channelMultipliers: [1, 1, 2, 2, 2, 2, 2],
  residualBlocks: 2,
  dropout: 0,
  embedding: 'fourier',
  scaleBySigma: true,
  fir: true,
  progressive: 'output_skip',
  progressiveInput: 'input_skip',
  sigmaMax: 378,
  numScales: 2000,
};

const wholeList = listOf(kinds.int32, 'whole numbers');

const unetOptions: OptionKinds<UNetOptions> = {
  imageSize: kinds.number,
  channels: kinds.number,
  baseChannels: kinds.number,
  channelMultipliers: wholeList,
  residualBlocks: kinds.number,
  attentionResolutions: wholeList,
  dropout: kinds.number,
  embedding: oneOf(['positional', 'fourier']),
  fourierScale: kinds.finite,
  conditional: kinds.boolean,
  centered: kinds.boolean,
  skipRescale: kinds.boolean,
  scaleBySigma: kinds.boolean,
  initScale: kinds.notNegative,
  seed: kinds.whole,
  resblock: oneOf(['biggan', 'ddpm']),
  nonlinearity: oneOf(nonlinearities),
  fir: kinds.boolean,
  firKernel: listOf(kinds.finite, 'finite numbers'),
  resampleWithConv: kinds.boolean,
  progressive: oneOf(['none', 'output_skip', 'residual']),
  progressiveInput: oneOf(['none', 'input_skip', 'residual']),
  progressiveCombine: oneOf(['sum', 'cat']),
  activationCheckpointing: kinds.boolean,
  sigmaMin: kinds.number,
  sigmaMax: kinds.number,
  numScales: kinds.number,
};

/** The options without a default. */
const required = Object.keys(unetOptions).filter((name) => !(name in defaults)) as (keyof UNetOptions & string)[];

/** Fills in defaults and validates options. @throws ValueError with the option and its valid values */
export function completeOptions(given: UNetOptions): Required<UNetOptions> {
  const options: Required<UNetOptions> = { ...defaults, ...checkOptions('UNet', given, unetOptions, required) };
  checkShapes(options);
  if (!(options.dropout >= 0 && options.dropout < 1))
    throw new ValueError(`dropout must be in [0, 1), got ${options.dropout}`);
  const sum = options.firKernel.reduce((total, tap) => total + tap, 0);
  if (!Number.isFinite(sum) || sum === 0)
    throw new ValueError(`firKernel must have a finite sum other than 0, got [${options.firKernel}]`);
  requireWhole('numScales', options.numScales, 2);
  for (const name of ['sigmaMin', 'sigmaMax'] as const)
    if (!(options[name] > 0 && Number.isFinite(options[name])))
      throw new ValueError(`${name} must be a finite number > 0, got ${options[name]}`);
  return options;
}

function checkShapes(options: UNetOptions): void {
  requireWhole('imageSize', options.imageSize, 1);
  requireWhole('channels', options.channels, 1);
  requireWhole('baseChannels', options.baseChannels, 4);
  requireWhole('residualBlocks', options.residualBlocks, 1);
  if (options.baseChannels % 2) throw new ValueError(`baseChannels must be even, got ${options.baseChannels}`);
  if (options.channelMultipliers.length === 0) throw new ValueError('channelMultipliers must have at least one level');
  for (const multiplier of options.channelMultipliers) requireWhole('a channel multiplier', multiplier, 1);
  const halvings = options.channelMultipliers.length - 1;
  if (options.imageSize % 2 ** halvings)
    throw new ValueError(`imageSize ${options.imageSize} cannot be halved ${halvings} times, once per level`);
}
