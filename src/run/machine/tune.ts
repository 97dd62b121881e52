// Measures what the choice of convolution algorithms stands on (kernels/conv/algorithm.ts): the rate of each algorithm and pass
// on a grid of shapes, on an open CPU device. Algorithms take turns, and the best of several turns counts, so that a neighbour
// who takes the processor for a while does not decide.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import {
  type Algorithm,
  algorithms,
  isWinograd,
  type Pass,
  passes,
  type Tuning,
} from '../../kernels/conv/algorithm.ts';
import { convForward, convInputGradient, convWeightGradient } from '../../kernels/conv/cpu.ts';
import type { Geometry } from '../../kernels/conv/shape.ts';
import { randn } from '../../kernels/random.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { turn } from '../../turn.ts';
import { runOptions } from '../arguments.ts';

/** Images whose batch has that many tiles of 4 x 4 outputs: [N, height and width]. */
const images: Readonly<Record<number, readonly [number, number]>> = {
  4: [4, 4],
  16: [4, 8],
  64: [4, 16],
  256: [4, 32],
  1024: [16, 32],
};
const tiles = Object.keys(images).map(Number);
const channels = [32, 64, 128, 256, 512];

export interface TuneOptions {
  /** Turns of each algorithm; default 4. */
  turns?: number;
  /** Told after each shape. */
  onProgress?: (done: number, total: number) => void;
  /** Stops it between two shapes. */
  signal?: AbortSignal;
}

const optionKinds: OptionKinds<TuneOptions> = {
  turns: kinds.count,
  onProgress: runOptions.onProgress,
  signal: runOptions.signal,
};

/**
 * Some minutes of all the device's threads.
 * @throws ValueError for a device without such a choice
 */
export async function tune(device: Device, options: TuneOptions = {}): Promise<Tuning> {
  checkArgument('tune', 'device', device, runOptions.device);
  const { turns = 4, onProgress, signal } = checkOptions('tune', options, optionKinds);
  if (device.kind === 'cuda')
    throw new ValueError('tune measures cpu and wasm; convolutions of cuda have one algorithm');
  const rates = Object.fromEntries(
    passes.map((pass) => [pass, Object.fromEntries(algorithms.map((algorithm) => [algorithm, []]))]),
  ) as unknown as Record<Pass, Record<Algorithm, number[][][]>>;
  const total = tiles.length * channels.length ** 2;
  let done = 0;
  for (const [i, count] of tiles.entries())
    for (const [j, inputs] of channels.entries())
      for (const outputs of channels) {
        // Timers and signals get their turn.
        await new Promise((resolve) => setImmediate(resolve));
        await turn(signal);
        const [n, size] = images[count];
        const measured = measureShape(device, { n, size, inputs, outputs }, turns);
        for (const pass of passes)
          for (const algorithm of algorithms) {
            const table = rates[pass][algorithm];
            table[i] ??= [];
            table[i][j] ??= [];
            table[i][j].push(measured[pass][algorithm]);
          }
        onProgress?.(++done, total);
      }
  return { tiles, channels, rates };
}

interface Shape {
  n: number;
  size: number;
  inputs: number;
  outputs: number;
}

/** GFLOP/s, to three digits; 0 of an algorithm that cannot do the shape. */
function measureShape(device: Device, shape: Shape, turns: number): Record<Pass, Record<Algorithm, number>> {
  const { n, size, inputs, outputs } = shape;
  return scope(() => {
    const draw = (dims: number[], first: number) => randn(dims, { seed: 0, first, device });
    const x = draw([n, size, size, inputs], 0);
    const weight = draw([outputs, 3, 3, inputs], n);
    const dy = draw([n, size, size, outputs], 2 * n);
    const table = [n, size, size, inputs, size, size, outputs, 3, 3, 1, 1, 1, 1];
    const run: Record<Pass, (geometry: Geometry) => Tensor> = {
      forward: (geometry) => convForward(x, weight, geometry, { scale: 1 }),
      inputGradient: (geometry) => convInputGradient(dy, weight, x.shape, geometry, 1),
      weightGradient: (geometry) => convWeightGradient(x, dy, weight.shape, geometry, 1),
    };
    const able = algorithms.filter((algorithm) => algorithm === 'direct' || isWinograd(device, table));
    const flops = 2 * n * size * size * inputs * outputs * 9;
    const rate = (pass: Pass): Record<Algorithm, number> => {
      const best: Record<Algorithm, number> = { direct: 0, winograd2: 0, winograd4: 0 };
      // The first turn warms caches and is not counted.
      for (let turn = 0; turn <= turns; turn++)
        for (const algorithm of able) {
          const start = performance.now();
          run[pass]({ out: dy.shape, table, algorithm }).dispose();
          const milliseconds = performance.now() - start;
          if (turn > 0) best[algorithm] = Math.max(best[algorithm], flops / milliseconds / 1e6);
        }
      return Object.fromEntries(
        Object.entries(best).map(([algorithm, value]) => [algorithm, Number(value.toPrecision(3))]),
      ) as Record<Algorithm, number>;
    };
    return { forward: rate('forward'), inputGradient: rate('inputGradient'), weightGradient: rate('weightGradient') };
  });
}
