// An out-of-memory error lists the owners of the memory in use.
import { expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { OutOfMemoryError } from '../../src/errors.ts';
import { exp, mul } from '../../src/kernels/elementwise.ts';
import { Adam, MLP } from '../../src/nn/index.ts';
import { empty, zeros } from '../../src/tensor/create.ts';
import { openScope } from '../../src/tensor/scope.ts';

it('lists parameters, moments and the results of ops by their bytes', async () => {
  const device = await openDevice('cpu', { threads: 1 });
  const optimizer = new Adam(new MLP([512, 512]), { emaRate: 0.9 });
  const work = openScope();
  work.run(() => {
    const x = zeros([2 ** 20], { device });
    for (let i = 0; i < 3; i++) exp(x);
    mul(x, 2);
  });
  // A full card is simulated by the same device with an allocator that fails.
  const { allocate } = device;
  device.allocate = () => {
    throw new OutOfMemoryError('out of memory: 1.0 MiB asked');
  };
  try {
    const table = [
      '12.0 MiB in 3 of exp',
      // These are the zeros, Adam's schedule and the ring of losses.
      '4.0 MiB in 3 of other',
      '4.0 MiB in 1 of mul',
      '2.0 MiB in 2 of moments of Adam',
      '1.0 MiB in 1 of parameters',
      '1.0 MiB in 1 of gradients of parameters',
      '1.0 MiB in 1 of moving average',
    ].map((line) => `  ${' '.repeat(10 - line.indexOf(' '))}${line}`);
    expect(() => empty([2 ** 18], { device })).toThrow(
      new OutOfMemoryError(['out of memory: 1.0 MiB asked', ...table]),
    );
  } finally {
    (device as { allocate: Device['allocate'] }).allocate = allocate;
  }
  work.close();
  optimizer.dispose();
});
