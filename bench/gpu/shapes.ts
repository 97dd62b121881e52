// Times of the network's convolutions, each pass by itself, at the shapes of docs/gpu.md: the column `measured`.
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { convInputGradient, convWeightGradient } from '../../src/kernels/conv/cuda.ts';
import { inputShape, outputShape, weightShape } from '../../src/kernels/conv/shape.ts';
import { randn } from '../../src/kernels/random.ts';
import { scope } from '../../src/tensor/scope.ts';
import { medianTime } from './measure.ts';
import type { ItemResult } from './results_file.ts';
import { type TableRow, tableRows } from './table.ts';

const ROUNDS = 10;

type Timed = TableRow & Required<Pick<TableRow, 'convolution'>>;

/** The rows that are timed. */
export function timedRows(): Timed[] {
  return tableRows().filter((row): row is Timed => row.convolution !== undefined);
}

export function timeShape(device: Device, { convolution: { shape, pass }, flops }: Timed): ItemResult {
  const milliseconds = scope(() => {
    // Numbers, since products of zeros take less power and so less time.
    const [x, weight, dy] = [inputShape(shape), weightShape(shape), outputShape(shape)].map((dims, stream) =>
      cast(randn(dims, { device, seed: 1, stream }), 'bf16'),
    );
    const work = {
      forward: () => noGrad(() => conv2d(x, weight, { padding: [shape.paddingY, shape.paddingX] })),
      input: () => convInputGradient(dy, weight, shape, 1),
      weight: () => convWeightGradient(x, dy, shape, 1),
    }[pass];
    const once = () => {
      scope(() => {
        work();
      });
    };
    return medianTime(device, once, ROUNDS);
  });
  return { values: { milliseconds, teraflops: flops / milliseconds / 1e9 } };
}
