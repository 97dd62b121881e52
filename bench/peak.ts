// Measures the peaks that shares refer to, in the same process.
import type { Device } from '../src/device/device.ts';
import { kernelModule } from '../src/device/module.ts';
import { empty, zeros } from '../src/tensor/create.ts';

const kernels = kernelModule(new URL('./peak.c', import.meta.url).href, {
  peak_fma: 'ptr i32 i32 -> f64',
  peak_copy: 'ptr ptr i32',
});

export interface Peaks {
  /** Floating-point operations per second of all threads together. */
  flops: number;
  /** Bytes read and written per second by a copy of 64 MiB. */
  bandwidth: number;
}

export function measurePeaks(device: Device): Peaks {
  const launch = device.load(kernels);
  const tasks = device.workers;
  using sink = empty([tasks], { device });
  const n = 2 ** 24;
  using from = zeros([n], { device });
  using to = zeros([n], { device });
  let flops = 0;
  let bandwidth = 0;
  for (let round = 0; round < 8; round++) {
    let start = performance.now();
    const done = launch.peak_fma(sink.address, tasks, 2 ** 19);
    flops = Math.max(flops, done / ((performance.now() - start) / 1e3));
    start = performance.now();
    launch.peak_copy(to.address, from.address, n);
    bandwidth = Math.max(bandwidth, (8 * n) / ((performance.now() - start) / 1e3));
  }
  return { flops, bandwidth };
}
