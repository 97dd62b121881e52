// Measures the rates that kernels/conv/algorithm.ts chooses convolution algorithms by: each algorithm and pass on a
// grid of shapes. The algorithms take turns and the best of several turns counts, so that a short load on the machine
// does not decide.
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { isWinograd } from '../../kernels/conv/algorithm.ts';
import { convForward, convInputGradient, convWeightGradient } from '../../kernels/conv/cpu.ts';
import { convShapeOf } from '../../kernels/conv/shape.ts';
import { randn } from '../../kernels/random.ts';
import { type Algorithm, algorithms, type ConvPass, convPasses, type Tuning } from '../../kernels/tuning/table.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { turn } from '../../turn.ts';
import { runOptions } from '../arguments.ts';

/** For each number of 4 x 4 output tiles, a batch with that many: the number of images, and their height and width. */
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
  /** Measurements of each algorithm on each shape; default 4. */
  turns?: number;
  /** Called after each shape. */
  onProgress?: (done: number, total: number) => void;
  /** Stops the measurement between two shapes. */
  signal?: AbortSignal;
}

const optionKinds: OptionKinds<TuneOptions> = {
  turns: kinds.count,
  onProgress: runOptions.onProgress,
  signal: runOptions.signal,
};

/**
 * Measures the convolution algorithms of a CPU or WebAssembly device. It takes some minutes of all its threads.
 * @throws ValueError for a CUDA device, which has one algorithm
 */
export async function tune(device: Device, options: TuneOptions = {}): Promise<Tuning> {
  checkArgument('tune', 'device', device, runOptions.device);
  const { turns = 4, onProgress, signal } = checkOptions('tune', options, optionKinds);
  if (device.kind === 'cuda')
    throw new ValueError('tune measures cpu and wasm; convolutions of cuda have one algorithm');
  const rates = Object.fromEntries(
    convPasses.map((pass) => [pass, Object.fromEntries(algorithms.map((algorithm) => [algorithm, []]))]),
  ) as unknown as Record<ConvPass, Record<Algorithm, number[][][]>>;
  const total = tiles.length * channels.length ** 2;
  let done = 0;
  for (const [i, count] of tiles.entries())
    for (const [j, inputs] of channels.entries())
      for (const outputs of channels) {
        // Lets timers and signals run.
        await new Promise((resolve) => setImmediate(resolve));
        await turn(signal);
        const [n, size] = images[count];
        const measured = measureShape(device, { n, size, inputs, outputs }, turns);
        for (const pass of convPasses)
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

/** GFLOP/s to three digits, by pass and algorithm; 0 for an algorithm that does not support the shape. */
function measureShape(device: Device, shape: Shape, turns: number): Record<ConvPass, Record<Algorithm, number>> {
  const { n, size, inputs, outputs } = shape;
  return scope(() => {
    const draw = (dims: number[], first: number) => randn(dims, { seed: 0, first, device });
    const x = draw([n, size, size, inputs], 0);
    const weight = draw([outputs, 3, 3, inputs], n);
    const dy = draw([n, size, size, outputs], 2 * n);
    const conv = convShapeOf(x.shape, weight.shape, { paddings: [1, 1] });
    const run: Record<ConvPass, (algorithm: Algorithm) => Tensor> = {
      forward: (algorithm) => convForward(x, weight, conv, { scale: 1 }, algorithm),
      inputGradient: (algorithm) => convInputGradient(dy, weight, conv, 1, algorithm),
      weightGradient: (algorithm) => convWeightGradient(x, dy, conv, 1, algorithm),
    };
    const able = algorithms.filter((algorithm) => algorithm === 'direct' || isWinograd(device, conv));
    const flops = 2 * n * size * size * inputs * outputs * 9;
    const rate = (pass: ConvPass): Record<Algorithm, number> => {
      const best: Record<Algorithm, number> = { direct: 0, winograd2: 0, winograd4: 0 };
      // The first turn warms the caches and does not count.
      for (let turn = 0; turn <= turns; turn++)
        for (const algorithm of able) {
          const start = performance.now();
          run[pass](algorithm).dispose();
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
