// `npm run gpu:sweep`: each pass of the network's convolutions on a card of sm_90a with every tile, the fastest of which go into
// src/kernels/tuning/sm_90a_measured.json. The weight gradients are those of the step's launches.
import type { Device } from '../../src/device/device.ts';
import { DeviceError } from '../../src/errors.ts';
import { cast } from '../../src/kernels/cast.ts';
import { hopperBuilds, hopperForward, hopperInputGradient, keyOf } from '../../src/kernels/conv/hopper.ts';
import { cutsOf, hopperWeightPartials } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { type ConvShape, inputShape, outputShape, weightShape } from '../../src/kernels/conv/shape.ts';
import { randn } from '../../src/kernels/random.ts';
import type { MeasuredTiles } from '../../src/kernels/tuning/sm_90a.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Shape } from '../../src/tensor/shape.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { ofConvolution, type Pass } from './layer_parts.ts';
import { medianTime } from './measure.ts';
import type { ItemResult } from './results_file.ts';
import { hopperPasses } from './table.ts';

export interface SweptPass {
  /** The name in the table of docs/gpu.md; for several weight gradients in one launch, their count and a number. */
  name: string;
  pass: Pass;
  /** The shape of the pass, or those of the weight gradients that one launch computes. */
  shapes: readonly ConvShape[];
}

/** All passes in a training step of the official CIFAR-10 network. */
export function sweptPasses(): SweptPass[] {
  return hopperPasses().map(({ pass, shapes }, i) => ({
    name: pass === 'weight' ? `${shapes.length} weight gradients together, ${i}` : ofConvolution(shapes[0], pass).name,
    pass,
    shapes,
  }));
}

/** @throws DeviceError where the card has none of these kernels */
export function assertSweepable(device: Device): void {
  if (!device.tensorMaps)
    throw new DeviceError(`a sweep needs a card of sm_90a with CUDA 12 or later; this is ${device.description}`);
}

/**
 * Microseconds with each tile, by its name.
 * @param time milliseconds of what is enqueued
 */
export function sweepPass(
  device: Device,
  { pass, shapes }: SweptPass,
  time: typeof medianTime = medianTime,
): ItemResult {
  const maps = device.tensorMaps;
  if (!maps) throw new DeviceError(`${device.description}: no tensor maps`);
  return scope(() => {
    // Numbers, since products of zeros take less power and so less time.
    const drawn = (shape: Shape, stream: number) => cast(randn(shape, { device, seed: 1, stream }), 'bf16');
    const operands = shapes.map((shape) => ({
      shape,
      x: drawn(inputShape(shape), 0),
      weight: drawn(weightShape(shape), 1),
      dy: drawn(outputShape(shape), 2),
    }));
    const [{ shape, x, weight, dy }] = operands;
    const work: Record<Pass, (build: number) => Tensor | Tensor[]> = {
      forward: (i) => hopperForward(maps, x, weight, shape, { scale: 1 }, hopperBuilds[i]),
      input: (i) => hopperInputGradient(maps, dy, weight, shape, 1, hopperBuilds[i]),
      weight: (i) => hopperWeightPartials(maps, operands, cutsOf(shapes)[i]),
    };
    const once = (build: number) => () => {
      scope(() => {
        work[pass](build);
      });
    };
    const values = hopperBuilds.map(({ name }, i) => [name, 1e3 * time(device, once(i))]);
    return { values: Object.fromEntries(values) };
  });
}

type Times = Readonly<Record<string, number>>;

const fastestOf = (times: Times) => Object.entries(times).reduce((best, one) => (one[1] < best[1] ? one : best));

/** @param times by the name of the pass: microseconds by the name of the tile */
export function fastestTiles(passes: readonly SweptPass[], times: ReadonlyMap<string, Times>): MeasuredTiles {
  const found = { forward: {}, input: {}, weight: {} } as Record<Pass, Record<string, unknown>>;
  for (const { name, pass, shapes } of passes) {
    const measured = times.get(name);
    if (!measured) continue;
    const [tile] = fastestOf(measured);
    const cut = cutsOf(shapes).find((one) => one.tile.name === tile);
    found[pass][keyOf(shapes)] = pass === 'weight' ? { tile, run: cut?.run } : tile;
  }
  return found as unknown as MeasuredTiles;
}

/** The text of src/kernels/tuning/sm_90a_measured.json. */
export function tuningText(tiles: MeasuredTiles): string {
  return `${JSON.stringify(tiles, null, 1)}\n`;
}

/** cuDNN's name of a pass, by bench/pytorch/cudnn.py. */
function opponentOf({ pass, shapes: [{ height: size, channels, outputs, kernelHeight: kernel }] }: SweptPass): string {
  const kind = { forward: 'forward', input: 'input_gradient', weight: 'weight_gradient' }[pass];
  return `${size}x${size} ${channels}->${outputs} k${kernel} ${kind} teraflops`;
}

/** In Markdown: the fastest tile of each pass, next to cuDNN's time if that was measured. @param cudnn values of cudnn.py */
export function sweepLines(passes: readonly SweptPass[], times: ReadonlyMap<string, Times>, cudnn: Times): string[] {
  const lines = passes.flatMap((one) => {
    const measured = times.get(one.name);
    if (!measured) return [];
    const [tile, microseconds] = fastestOf(measured);
    const flops = one.shapes.reduce((sum, shape) => sum + ofConvolution(shape, one.pass).flops, 0);
    const other = one.shapes.length === 1 ? cudnn[opponentOf(one)] : undefined;
    const cells = [
      one.name,
      tile,
      microseconds.toFixed(1),
      (flops / microseconds / 1e6).toFixed(0),
      other?.toFixed(0) ?? '',
    ];
    return [`| ${cells.join(' | ')} |`];
  });
  return ['| of batch 128 in bf16 | tile | µs | TFLOP/s | cuDNN, TFLOP/s |', '|---|---|--:|--:|--:|', ...lines];
}
