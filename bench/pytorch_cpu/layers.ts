// Times the layers of the full network one by one, forward and backward, and counts their floating-point operations.
import type { Config } from '../../src/run/config/index.ts';
import { type Comparison, OURS, torchSides } from './comparison.ts';
import { type Ratio, ratioOf } from './timing_statistics.ts';
import type { TurnOptions } from './turns.ts';

/** A layer's shape as bench/pytorch/layers.py reports it; `size` is the height and width of its images. */
export type LayerShape =
  | { op: 'conv'; size: number; inputs: number; outputs: number; kernel: number }
  | { op: 'norm' | 'attention'; size: number; inputs: number }
  | { op: 'linear'; inputs: number; outputs: number };

export type CountedLayer = LayerShape & { count: number };

/** Floating-point operations of a layer's products for one image, forward; a multiply-add is two. */
export function layerFlops(layer: LayerShape): number {
  if (layer.op === 'conv') return 2 * layer.size ** 2 * layer.inputs * layer.outputs * layer.kernel ** 2;
  if (layer.op === 'linear') return 2 * layer.inputs * layer.outputs;
  return layer.op === 'attention' ? 4 * layer.size ** 4 * layer.inputs : 0;
}

/** Floating-point operations of a network's forward pass for one image; a training step does three times as many. */
export function networkFlops(layers: readonly CountedLayer[]): number {
  return layers.reduce((sum, layer) => sum + layer.count * layerFlops(layer), 0);
}

export function describeLayer(layer: LayerShape): string {
  if (layer.op === 'linear') return `linear ${layer.inputs} -> ${layer.outputs}`;
  const image = `${layer.size}x${layer.size}x${layer.inputs}`;
  if (layer.op === 'conv') return `conv ${layer.kernel}x${layer.kernel} ${image} -> ${layer.outputs}`;
  return layer.op === 'norm' ? `norm + silu ${image}` : `attention ${image}`;
}

export interface LayerComparison extends Comparison {
  layer: CountedLayer | undefined;
}

/** Layers by decreasing work, then the optimizer's update. */
export function layerComparisons(
  layers: readonly CountedLayer[],
  config: Config,
  batches: readonly number[],
  turns: TurnOptions,
): LayerComparison[] {
  const ordered = [...layers].sort((a, b) => b.count * layerFlops(b) - a.count * layerFlops(a));
  const comparisons = batches.flatMap((batch) =>
    ordered.flatMap((layer) => [false, true].map((backward) => layerComparison(layer, batch, backward, turns))),
  );
  const optimizer: LayerComparison = {
    name: 'layer optimizer: clip, Adam, moving average',
    layer: undefined,
    workload: { kind: 'optimizer', config },
    opponents: { pytorch: { worker: 'torch', options: {} } },
    flops: 0,
    turns,
  };
  return [...comparisons, optimizer];
}

function layerComparison(layer: CountedLayer, batch: number, backward: boolean, turns: TurnOptions): LayerComparison {
  const { count, ...shape } = layer;
  const images = shape.op === 'conv' || shape.op === 'norm';
  return {
    name: `layer b${batch} ${describeLayer(layer)} ${backward ? 'backward' : 'forward'}`,
    layer,
    workload: { kind: 'layer', shape, batch, backward },
    opponents: torchSides(images ? ['contiguous', 'channels_last'] : ['contiguous']),
    flops: batch * layerFlops(layer) * (backward ? 2 : 1),
    turns,
  };
}

export interface LayerRow extends Ratio {
  name: string;
  /** How often it occurs in the network. */
  count: number;
  flops: number;
  /** Seconds by side. */
  samples: Record<string, number[]>;
}

export function layerRow(comparison: LayerComparison, samples: Record<string, number[]>): LayerRow {
  const { [OURS]: ours, ...theirs } = samples;
  const { name, layer, flops } = comparison;
  return { name, count: layer?.count ?? 1, flops, ...ratioOf(ours, theirs), samples };
}
