// Times of the network's convolutions, each pass by itself, at the shapes of docs/gpu.md: the column `measured`.
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { convInputGradient, convWeightGradient } from '../../src/kernels/conv/cuda.ts';
import { zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { medianTime } from './measure.ts';
import type { Outcome } from './session.ts';
import { type TableRow, tableRows } from './table.ts';

const ROUNDS = 10;

type Timed = TableRow & Required<Pick<TableRow, 'convolution'>>;

/** The rows that are timed. */
export function timedRows(): Timed[] {
  return tableRows().filter((row): row is Timed => row.convolution !== undefined);
}

export function timeShape(device: Device, { convolution: { table, pass }, flops }: Timed): Outcome {
  const [n, h, w, inputs, outH, outW, outputs, kh, kw, , , vertical, horizontal] = table;
  const milliseconds = scope(() => {
    const [x, weight, dy] = [
      [n, h, w, inputs],
      [outputs, kh, kw, inputs],
      [n, outH, outW, outputs],
    ].map((shape) => zeros(shape, { device, dtype: 'bf16' }));
    const geometry = { out: dy.shape, table };
    const work = {
      forward: () => noGrad(() => conv2d(x, weight, { padding: [vertical, horizontal] })),
      input: () => convInputGradient(dy, weight, x.shape, geometry, 1),
      weight: () => convWeightGradient(x, dy, weight.shape, geometry, 1),
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
