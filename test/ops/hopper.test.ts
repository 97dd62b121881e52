/**
 * Convolutions of bf16 on the emulated card of sm_90: which go by tensor maps and products of warpgroups, that every tile gives
 * the same bits, that a recorded graph keeps its maps, and that a card of sm_80 has the same shapes without.
 */
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { TensorMaps } from '../../src/device/device.ts';
import type { AnyModule } from '../../src/device/module.ts';
import { cast } from '../../src/kernels/cast.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import {
  forwardTile,
  hopperBuilds,
  hopperForward,
  hopperInputGradient,
  hopperWeightPartials,
  layerOf,
} from '../../src/kernels/conv/hopper.ts';
import { randn } from '../../src/kernels/random.ts';
import { sumAxes } from '../../src/kernels/reduction.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { view } from '../../src/tensor/view.ts';
import { convCases } from '../cases/conv.ts';
import { checkCase } from '../support/check.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const whole = convCases.find(({ name }) => name === 'add, residual, scaled');

/** What the case table has no size of: more columns than a tile, few pixels in many images, kernels that are not square. */
const layers = [
  { x: [3, 3, 2, 64], out: 192, kernel: 3, padding: 1 },
  { x: [1, 5, 4, 128], out: 64, kernel: [2, 3], padding: [1, 2] },
  { x: [2, 9, 8, 64], out: 64, kernel: 1 },
  { x: [1, 6, 5, 64], out: 128, kernel: 3 },
];

describe.runIf(deviceNames.includes('cuda-emulated'))('bf16 on cuda-emulated', () => {
  let device: CudaDevice;
  beforeAll(async () => {
    device = (await openTestDevice('cuda-emulated', { precision: 'bf16' })) as CudaDevice;
  }, 120_000);
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  /** Modules of convolution that a device is asked for. */
  async function asked(of: CudaDevice, work: () => unknown): Promise<Set<string>> {
    const load = vi.spyOn(of, 'load');
    await work();
    const names = load.mock.calls.map(([module]) => (module as AnyModule).name);
    return new Set(
      names.filter((name) => name.startsWith('conv/')).map((name) => name.replace(/\.\d+(x\d+(\.turns)?)?$/, '')),
    );
  }

  test.each(layers)('all three passes of %j', async (layer) => {
    const of = () => checkCase(whole as (typeof convCases)[number], layer, device, 1);
    expect(await asked(device, of)).toEqual(new Set(['conv/hopper']));
  });

  test.each([
    ['at stride 2', { x: [1, 6, 6, 64], out: 64, kernel: 3, padding: 1, stride: 2 }],
    ['of 32 channels', { x: [1, 4, 4, 32], out: 64, kernel: 3, padding: 1 }],
    ['of 3 outputs', { x: [1, 4, 4, 64], out: 3, kernel: 3, padding: 1 }],
    ['with a padding as wide as the kernel', { x: [1, 4, 4, 64], out: 64, kernel: 1, padding: 1 }],
  ])('those %s go by the portable kernels', async (_, layer) => {
    const of = () => checkCase(convCases[0], layer, device, 1);
    expect(await asked(device, of)).toEqual(new Set(['conv/conv.bf16']));
  });

  test('a tensor that does not begin at a multiple of 16 bytes goes by the portable kernels', async () => {
    const of = () =>
      scope(() => {
        const [x, w, all] = [drawn([1, 2, 2, 64], 0), drawn([64, 1, 1, 64], 1), randn([65], { device, seed: 1 })];
        const [inside, copy] = [view(all, [64], 1), tensor(all.dataSync().slice(1), { device })];
        const [y, want] = [inside, copy].map((bias) => cast(conv2d(x, w, { bias }), 'f32').dataSync());
        expectClose('y', y as Float32Array, want as Float32Array, { relative: 2 ** -7, absolute: 1e-6 });
      });
    expect(await asked(device, of)).toEqual(new Set(['conv/hopper', 'conv/conv.bf16']));
  });

  test('a card of sm_80 has the same shapes by the portable kernels', async () => {
    vi.stubEnv('FAKECUDA_ARCH', '80');
    using old = new CudaDevice(1, { precision: 'bf16' });
    const of = () => checkCase(whole as (typeof convCases)[number], layers[0], old, 1);
    expect(await asked(old, of)).toEqual(new Set(['conv/conv.bf16']));
  }, 120_000);

  const drawn = (shape: readonly number[], stream: number) => cast(randn(shape, { device, seed: 5, stream }), 'bf16');

  test.each([
    { shape: [2, 9, 17, 64], outputs: 192, kernel: 3, parts: 1 },
    // Enough pixels for a weight gradient in parts.
    { shape: [1, 43, 32, 128], outputs: 64, kernel: 1, parts: 2 },
  ])(
    'every tile gives the same sums: %j',
    ({ shape: [n, height, width, channels], outputs, kernel, parts }) => {
      scope(() => {
        const maps = device.tensorMaps as TensorMaps;
        const padding = Math.floor(kernel / 2);
        const table = [n, height, width, channels, height, width, outputs, kernel, kernel, 1, 1, padding, padding];
        const layer = layerOf(table);
        const [x, w, residual] = [layer.x, layer.weight, layer.out].map((shape, i) => drawn(shape, i));
        const dy = drawn(layer.out, 3);
        const epilogue = { residual, scale: 0.5 };
        const results = hopperBuilds.map((tile) => {
          const partials = hopperWeightPartials(maps, x, dy, table, tile);
          expect(partials.shape[0]).toBe(parts);
          const y = cast(hopperForward(maps, x, w, table, epilogue, tile), 'f32').dataSync();
          const dx = cast(hopperInputGradient(maps, dy, w, table, 0.5, tile), 'f32').dataSync();
          return { y, dx, dw: sumAxes(partials, [0]).dataSync() };
        });
        for (const { y, dx, dw } of results) {
          expect(y).toEqual(results[0].y);
          expect(dx).toEqual(results[0].dx);
          expect(dw).toEqual(results[0].dw);
        }
        const { y, dx, dw } = reference(x, w, dy, residual);
        expectClose('y', results[0].y, y, { relative: 2 ** -8, ofLargest: 1e-5 });
        expectClose('dx', results[0].dx, dx, { relative: 2 ** -8, ofLargest: 1e-5 });
        expectClose('dw', results[0].dw, dw, { ofLargest: 1e-5 });
      });
    },
    120_000,
  );

  /** By the portable kernels, of f32. */
  function reference(x: Tensor, w: Tensor, dy: Tensor, residual: Tensor) {
    const [image, weight, rest, grad] = [x, w, residual, dy].map((t) => cast(t, 'f32'));
    image.requireGrad();
    weight.requireGrad();
    const y = conv2d(image, weight, { padding: Math.floor(w.shape[1] / 2), residual: rest, scale: 0.5 });
    const result = y.dataSync();
    y.backward(grad);
    const dw = (weight.grad as Tensor).dataSync().map((value) => 2 * Number(value));
    const dx = (image.grad as Tensor).dataSync();
    for (const leaf of [image, weight]) {
      leaf.grad?.dispose();
      leaf.grad = null;
    }
    return { y: result, dx, dw };
  }

  test('a replayed graph reads what its memory holds then, by the maps of its capture', () => {
    scope(() => {
      const x = drawn([1, 4, 4, 64], 0);
      const w = drawn([64, 3, 3, 64], 1);
      const once = conv2d(x, w, { padding: 1 }).dataSync();
      const y = drawn([1, 4, 4, 64], 2);
      const work = () => {
        const made = scope(() => conv2d(x, w, { padding: 1 }));
        device.copy(y.address, made.address, made.size * 2);
        made.dispose();
      };
      work();
      const recording = device.record(work);
      device.fill(y.address, y.size * 2, 0);
      recording.replay();
      expect(y.dataSync()).toEqual(once);
      device.fill(x.address, x.size * 2, 0);
      // Maps that were made later do not matter.
      for (let i = 0; i < 5000; i++) device.tensorMaps?.rows(4096 + 16 * i, [8, 64], 8);
      recording.replay();
      expect(new Set(y.dataSync())).toEqual(new Set([0]));
      recording[Symbol.dispose]();
    });
  });
});

test('tiles of the layers of the official network, at batch 128', () => {
  const tileOf = (size: number, channels: number, outputs: number, kernel: number) => {
    const padding = Math.floor(kernel / 2);
    const table = [128, size, size, channels, size, size, outputs, kernel, kernel, 1, 1, padding, padding];
    const { rows, columns, together } = forwardTile(layerOf(table));
    return `${rows}x${columns}${together === 1 ? ' in turns' : ''}`;
  };
  expect(tileOf(32, 128, 128, 3)).toBe('256x128');
  expect(tileOf(8, 256, 256, 3)).toBe('128x128');
  expect(tileOf(4, 256, 256, 3)).toBe('128x64');
  expect(tileOf(16, 256, 256, 1)).toBe('128x128 in turns');
});
