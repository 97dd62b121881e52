// Maps our parameters to the names and layouts of the official code (models/ncsnpp.py, layerspp.py), in the order of
// its model.parameters(), which is also the order of its state dict, moving average and optimiser state. Each of our
// modules is one of `all_modules`, and a block creates its parameters in the order of the official block.

import { checkArgument, instanceOf, oneOf } from '../arguments.ts';
import { formatShape, ShapeError } from '../errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { AttentionBlock } from './blocks/attention.ts';
import { Combine } from './blocks/combine.ts';
import { Downsample, Upsample } from './blocks/resampling.ts';
import { ResidualBlock } from './blocks/residual.ts';
import { FourierEmbedding } from './embedding.ts';
import { type Module, valuesKind } from './module.ts';
import { UNet } from './unet.ts';

/**
 * The layout of the official array compared with ours:
 *   same      equal
 *   conv      [Cout, Cin, kh, kw] against [Cout, kh, kw, Cin]
 *   nin       [in, out] against a linear map [out, in]
 *   nin_conv  [in, out] against a 1x1 convolution [out, 1, 1, in]
 */
export type OfficialLayout = 'same' | 'conv' | 'nin' | 'nin_conv';

export interface OfficialEntry {
  /** The official name, such as 'all_modules.3.Conv_0.weight'. */
  official: string;
  /** Our path, such as 'down.0.conv1.weight'. */
  path: string;
  layout: OfficialLayout;
  /** Shape of the official array. */
  shape: readonly number[];
  /** Whether the official parameter requires a gradient and is thus part of the moving average. */
  trainable: boolean;
}

export interface HostTensor {
  shape: readonly number[];
  data: Float32Array;
}

/**
 * Every tensor of the network in the official order. The official state dict has one more, the buffer `sigmas` in
 * front, f64: noiseScales(network.options).
 * @example
 * const network = new UNet({ ...ddpmppCifar10, imageSize: 8, baseChannels: 8, channelMultipliers: [1], residualBlocks: 1 });
 * const [first] = officialEntries(network);
 * first.official; // 'all_modules.0.weight'
 * first.path; // 'time1.weight'
 */
export function officialEntries(network: UNet): OfficialEntry[] {
  checkArgument('officialEntries', 'network', network, networkKind);
  return allModules(network).flatMap(([prefix, module], index) => {
    const names = officialNames(module);
    return [...module.slots(`${prefix}.`)].map(({ path, owner, key }) => {
      const { shape } = owner[key] as Tensor;
      const child = path.slice(prefix.length + 1, -key.length - 1);
      const name = child === '' ? '' : names[child];
      const nin = name.startsWith('NIN');
      const layout = key !== 'weight' ? 'same' : nin ? ninLayouts[shape.length] : shape.length === 4 ? 'conv' : 'same';
      const leaf = nin ? { weight: 'W', bias: 'b' }[key] : key;
      return {
        official: ['all_modules', index, name, leaf].filter((part) => part !== '').join('.'),
        path,
        layout,
        shape: officialShape(layout, shape),
        trainable: !(module instanceof FourierEmbedding),
      };
    });
  });
}

const networkKind = instanceOf(UNet, 'a UNet');

const ninLayouts: Record<number, OfficialLayout> = { 2: 'nin', 4: 'nin_conv' };

/** Our modules by path, one per index of all_modules. */
function allModules(network: UNet): [string, Module][] {
  const { fourier, time1, time2, convIn, down, middle, up, normOut, convOut } = network;
  const list = (name: string, modules: readonly Module[]) =>
    modules.map((module, i): [string, Module] => [`${name}.${i}`, module]);
  const single = (modules: Record<string, Module | undefined>) =>
    Object.entries(modules).filter((entry): entry is [string, Module] => entry[1] !== undefined);
  return [
    ...single({ fourier, time1, time2, convIn }),
    ...list('down', down),
    ...list('middle', middle),
    ...list('up', up),
    ...single({ normOut, convOut }),
  ];
}

/** The official names of a block's layers, by our names. */
function officialNames(module: Module): Record<string, string> {
  if (module instanceof ResidualBlock) {
    const shortcut = module.form === 'ddpm' ? 'NIN_0' : 'Conv_2';
    return {
      norm1: 'GroupNorm_0',
      conv1: 'Conv_0',
      timeProjection: 'Dense_0',
      norm2: 'GroupNorm_1',
      conv2: 'Conv_1',
      shortcut,
    };
  }
  if (module instanceof AttentionBlock)
    return { norm: 'GroupNorm_0', query: 'NIN_0', key: 'NIN_1', value: 'NIN_2', projection: 'NIN_3' };
  if (module instanceof Combine) return { conv: 'Conv_0' };
  if (module instanceof Upsample || module instanceof Downsample) return { conv: module.fir ? 'Conv2d_0' : 'Conv_0' };
  return {};
}

function officialShape(layout: OfficialLayout, shape: readonly number[]): readonly number[] {
  const [outputs, height, width, inputs] = shape;
  if (layout === 'conv') return [outputs, inputs, height, width];
  if (layout === 'nin') return [shape[1], outputs];
  if (layout === 'nin_conv') return [inputs, outputs];
  return shape;
}

/**
 * Converts our array to the official layout.
 * @throws ArgumentError for an unknown layout; ShapeError for an array with another number of axes
 * @example
 * const conv = { shape: [1, 1, 2, 2], data: Float32Array.of(1, 3, 2, 4) };
 * toOfficial('conv', conv); // { shape: [1, 2, 1, 2], data: [1, 2, 3, 4] }
 */
export function toOfficial(layout: OfficialLayout, tensor: HostTensor): HostTensor {
  const { shape, data } = checkHostTensor('toOfficial', layout, tensor, { conv: 4, nin: 2, nin_conv: 4 });
  if (layout === 'same') return { shape, data };
  const [outputs, height, width, inputs] = layout === 'nin' ? [shape[0], 1, 1, shape[1]] : shape;
  const target = officialShape(layout, shape);
  if (layout !== 'conv') return { shape: target, data: transpose(data, 1, outputs, inputs) };
  return { shape: target, data: transpose(data, outputs, height * width, inputs) };
}

/**
 * Converts an official array to our layout.
 * @throws ArgumentError for an unknown layout; ShapeError for an array with another number of axes
 * @example
 * const conv = { shape: [1, 2, 1, 2], data: Float32Array.of(1, 2, 3, 4) };
 * fromOfficial('conv', conv); // { shape: [1, 1, 2, 2], data: [1, 3, 2, 4] }
 */
export function fromOfficial(layout: OfficialLayout, tensor: HostTensor): HostTensor {
  const { shape, data } = checkHostTensor('fromOfficial', layout, tensor, { conv: 4, nin: 2, nin_conv: 2 });
  if (layout === 'same') return { shape, data };
  if (layout === 'conv') {
    const [outputs, inputs, height, width] = shape;
    return { shape: [outputs, height, width, inputs], data: transpose(data, outputs, inputs, height * width) };
  }
  const [inputs, outputs] = shape;
  return {
    shape: layout === 'nin' ? [outputs, inputs] : [outputs, 1, 1, inputs],
    data: transpose(data, 1, inputs, outputs),
  };
}

/** Checks a tensor and returns it. @param ranks the rank by layout; 'same' accepts any rank */
function checkHostTensor(
  op: string,
  layout: OfficialLayout,
  tensor: HostTensor,
  ranks: Record<Exclude<OfficialLayout, 'same'>, number>,
): HostTensor {
  checkArgument(op, 'layout', layout, oneOf(['same', ...Object.keys(ranks)]));
  checkArgument(op, 'tensor', tensor, valuesKind);
  const { shape } = tensor;
  if (layout !== 'same' && shape.length !== ranks[layout])
    throw new ShapeError(op, `${ranks[layout]} axes for the layout ${layout}`, formatShape(shape));
  return tensor;
}

/** [batch, rows, columns] -> [batch, columns, rows] */
function transpose(data: Float32Array, batch: number, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let b = 0, at = 0; b < batch; b++)
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) result[(b * columns + column) * rows + row] = data[at++];
  return result;
}
