// bf16 convolutions on the emulated card of sm_90: which of them use tensor maps and warpgroup products, that every tile gives the
// same bits, that a recorded graph keeps its maps, and that a card of sm_80 runs the same shapes without them.
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { CudaDevice } from '../../src/device/cuda/device.ts';
import type { TensorMaps } from '../../src/device/device.ts';
import type { AnyModule } from '../../src/device/module.ts';
import { cast } from '../../src/kernels/cast.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import {
  choiceOf,
  hopperBuilds,
  hopperForward,
  hopperInputGradient,
  MOST_TOGETHER,
} from '../../src/kernels/conv/hopper.ts';
import { cutOf, hopperWeightPartials } from '../../src/kernels/conv/hopper_weight_gradients.ts';
import { convShapeOf, inputShape, outputShape, weightShape } from '../../src/kernels/conv/shape.ts';
import { add, mul } from '../../src/kernels/elementwise.ts';
import { sumAxes } from '../../src/kernels/inner/reduction.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { view } from '../../src/tensor/view.ts';
import { convCases } from '../cases/conv.ts';
import { checkCase } from '../support/check.ts';
import { expectClose } from '../support/compare.ts';
import { deviceNames, full, openTestDevice } from '../support/devices.ts';
import { launchesOf } from '../support/launches.ts';

const whole = convCases.find(({ name }) => name === 'add, residual, scaled');

/** Orders of threads and timings of copies on the emulated card. */
const conditions = ['round', 'forward', 'backward']
  .flatMap((schedule) => ['eager', 'deferred'].map((copies) => ({ schedule, copies })))
  .filter((_, i) => full || i === 2 || i === 5);

function under({ schedule, copies }: (typeof conditions)[number]): void {
  vi.stubEnv('FAKECUDA_SCHEDULE', schedule);
  vi.stubEnv('FAKECUDA_COPIES', copies);
}

/** A convolution with a square kernel that keeps the size of images. */
const sameSize = (image: readonly number[], outputs: number, kernel: number) => {
  const padding = Math.floor(kernel / 2);
  return convShapeOf(image, [outputs, kernel, kernel, image[3]], { paddings: [padding, padding] });
};

/** Sizes missing from the case table: more columns than a tile, few pixels in many images, kernels that are not square. */
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

  /** The convolution modules that a device loads during a call. */
  async function asked(of: CudaDevice, work: () => unknown): Promise<Set<string>> {
    const load = vi.spyOn(of, 'load');
    await work();
    const names = load.mock.calls.map(([module]) => (module as AnyModule).name);
    return new Set(
      names.filter((name) => name.startsWith('conv/')).map((name) => name.replace(/\.\d+(x\d+(\.turns)?)?$/, '')),
    );
  }

  test.each(layers)('all three passes match the reference: %j', async (layer) => {
    const of = () => checkCase(whole as (typeof convCases)[number], layer, device, 1);
    expect(await asked(device, of)).toEqual(new Set(['conv/hopper']));
  });

  test.each([
    ['at stride 2', { x: [1, 6, 6, 64], out: 64, kernel: 3, padding: 1, stride: 2 }],
    ['of 32 channels', { x: [1, 4, 4, 32], out: 64, kernel: 3, padding: 1 }],
    ['of 5 outputs', { x: [1, 4, 4, 64], out: 5, kernel: 3, padding: 1 }],
    ['with a padding as wide as the kernel', { x: [1, 4, 4, 64], out: 64, kernel: 1, padding: 1 }],
  ])('convolutions %s use the portable kernels', async (_, layer) => {
    const of = () => checkCase(convCases[0], layer, device, 1);
    expect(await asked(device, of)).toEqual(new Set(['conv/conv.bf16']));
  });

  test('a tensor that does not begin at a multiple of 16 bytes uses the portable kernels', async () => {
    const of = () =>
      scope(() => {
        const [x, w, all] = [drawn([1, 2, 2, 64], 0), drawn([64, 1, 1, 64], 1), randn([65], { device, seed: 1 })];
        const [inside, copy] = [view(all, [64], 1), tensor(all.dataSync().slice(1), { device })];
        const [y, want] = [inside, copy].map((bias) => cast(conv2d(x, w, { bias }), 'f32').dataSync());
        expectClose('y', y as Float32Array, want as Float32Array, { relative: 2 ** -7, absolute: 1e-6 });
      });
    expect(await asked(device, of)).toEqual(new Set(['conv/hopper', 'conv/conv.bf16']));
  });

  test('a card of sm_80 runs the same shapes with the portable kernels', async () => {
    vi.stubEnv('FAKECUDA_ARCH', '80');
    using old = new CudaDevice(1, { precision: 'bf16' });
    const of = () => checkCase(whole as (typeof convCases)[number], layers[0], old, 1);
    expect(await asked(old, of)).toEqual(new Set(['conv/conv.bf16']));
  }, 120_000);

  const drawn = (shape: readonly number[], stream: number) => cast(randn(shape, { device, seed: 5, stream }), 'bf16');

  test.each([
    { shape: [2, 5, 17, 64], outputs: 192, kernel: 3, parts: 1, epilogues: ['bias add residual'] },
    // The weight gradient is split into parts, the last one shorter, and its tiles end within a tap.
    { shape: [1, 9, 32, 192], outputs: 64, kernel: 1, parts: 3, epilogues: ['residual', 'bias add'] },
  ])(
    'every tile gives the same sums: %j',
    ({ shape: image, outputs, kernel, parts, epilogues }) => {
      scope(() => {
        const maps = device.tensorMaps as TensorMaps;
        const shape = sameSize(image, outputs, kernel);
        const run = Math.ceil((shape.batch * shape.height * shape.width) / 64 / parts);
        const [x, w, residual] = [image, weightShape(shape), outputShape(shape)].map((dims, i) => drawn(dims, i));
        const dy = drawn(outputShape(shape), 3);
        const all = {
          residual,
          add: drawn([image[0], outputs], 4),
          bias: randn([outputs], { device, seed: 5, stream: 6 }),
        };
        const addends = epilogues.map((names) =>
          Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name))),
        );
        const passes = (tile: (typeof hopperBuilds)[number]) => {
          const [partials] = hopperWeightPartials(maps, [{ x, dy, shape }], { tile, run });
          expect(partials.shape[0]).toBe(parts);
          const y = addends.map((some) =>
            cast(hopperForward(maps, x, w, shape, { ...some, scale: 0.5 }, tile), 'f32').dataSync(),
          );
          const dx = cast(hopperInputGradient(maps, dy, w, shape, 0.5, tile), 'f32').dataSync();
          return { y, dx, dw: sumAxes(partials, [0]).dataSync() };
        };
        const results = hopperBuilds.flatMap((tile) =>
          conditions.map((condition) => {
            under(condition);
            return passes(tile);
          }),
        );
        vi.unstubAllEnvs();
        for (const { y, dx, dw } of results) {
          expect(y).toEqual(results[0].y);
          expect(dx).toEqual(results[0].dx);
          expect(dw).toEqual(results[0].dw);
        }
        const { y, dx, dw } = reference(x, w, dy, addends);
        y.forEach((want, i) => {
          expectClose(epilogues[i], results[0].y[i], want, { relative: 2 ** -8, ofLargest: 1e-5 });
        });
        expectClose('dx', results[0].dx, dx, { relative: 2 ** -8, ofLargest: 1e-5 });
        expectClose('dw', results[0].dw, dw, { ofLargest: 1e-5 });
      });
    },
    600_000,
  );

  /** The result of the portable kernels in f32. */
  function reference(x: Tensor, w: Tensor, dy: Tensor, addends: readonly Record<string, Tensor>[]) {
    const [image, weight, grad] = [x, w, dy].map((t) => cast(t, 'f32'));
    image.requireGrad();
    weight.requireGrad();
    const all = addends.map((some) => {
      const exact = Object.fromEntries(Object.entries(some).map(([name, t]) => [name, cast(t, 'f32')]));
      return conv2d(image, weight, { padding: Math.floor(w.shape[1] / 2), ...exact, scale: 0.5 });
    });
    const result = all.map((y) => y.dataSync());
    all[0].backward(grad);
    const dw = (weight.grad as Tensor).dataSync().map((value) => 2 * Number(value));
    const dx = (image.grad as Tensor).dataSync();
    for (const leaf of [image, weight]) {
      leaf.grad?.dispose();
      leaf.grad = null;
    }
    return { y: result, dx, dw };
  }

  test('weight gradients of one shared launch are bit-identical to separate ones', () => {
    scope(() => {
      const maps = device.tensorMaps as TensorMaps;
      const shapes = [
        { x: [1, 9, 15, 64], outputs: 64, kernel: 3 },
        { x: [2, 3, 2, 128], outputs: 192, kernel: 1 },
        { x: [300, 1, 1, 64], outputs: 64, kernel: 1 },
      ];
      const items = shapes.map(({ x, outputs, kernel }, i) => {
        const shape = sameSize(x, outputs, kernel);
        return { x: drawn(inputShape(shape), 2 * i), dy: drawn(outputShape(shape), 2 * i + 1), shape };
      });
      for (const tile of hopperBuilds) {
        const cut = { tile, run: 2 };
        const alone = items.map((item) => hopperWeightPartials(maps, [item], cut)[0].dataSync());
        for (const condition of conditions) {
          under(condition);
          const together = hopperWeightPartials(maps, items, cut);
          expect(together.map(({ shape }) => shape[0])).toEqual([2, 1, 3]);
          together.forEach((partials, i) => {
            expect(partials.dataSync(), `${tile.module.name} ${i}, ${Object.values(condition)}`).toEqual(alone[i]);
          });
        }
        vi.unstubAllEnvs();
      }
    });
  }, 600_000);

  test('weight gradients of convolutions and linear layers wait for each other until a launch is full', () => {
    const [count, channels] = [MOST_TOGETHER + 1, 64];
    const weights = Array.from({ length: count }, (_, i) => {
      // The last one belongs to a linear layer.
      const shape = i < MOST_TOGETHER ? [channels, 1, 1, channels] : [channels, channels];
      return keep(randn(shape, { device, seed: 7, stream: i })).requireGrad();
    });
    /** The gradients, and the number of launches of their kernel. @param late whether a gradient to add to exists already */
    const gradients = (late: boolean) => {
      for (const w of weights) w.grad = late ? keep(zeros(w.shape, { device })) : null;
      const before = launches.length;
      const made = scope(() => {
        const x = drawn([1, 3, 2, channels], 0);
        const parts = weights.map((w) => (w.rank === 4 ? conv2d(x, w) : matmul(x, w, { transposeB: true })));
        const all = parts.map((y, i) => sum(mul(cast(y, 'f32'), randn(y.shape, { device, seed: 8, stream: i }))));
        all.reduce((a, b) => add(a, b)).backward();
        return launches.slice(before);
      });
      const values = weights.map((w) => w.grad?.dataSync() as Float32Array);
      for (const w of weights) {
        w.grad?.dispose();
        w.grad = null;
      }
      return { values, launches: made.filter((name) => name === 'conv_hopper_weight_gradients').length };
    };
    const launches = launchesOf(device);
    const [late, prompt] = [gradients(true), gradients(false)];
    expect(late.launches).toBe(2);
    expect(prompt.launches).toBe(MOST_TOGETHER);
    late.values.forEach((values, i) => {
      expectClose(`weight ${i}`, values, prompt.values[i], { ofLargest: 1e-5 });
    });
    for (const w of weights) w.dispose();
  }, 120_000);

  test('a replayed graph reads the current contents of its memory, with the maps of its capture', () => {
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
      // Maps that are made later have no effect.
      for (let i = 0; i < 5000; i++) device.tensorMaps?.rows(4096 + 16 * i, [8, 64], 8);
      recording.replay();
      expect(new Set(y.dataSync())).toEqual(new Set([0]));
      recording[Symbol.dispose]();
    });
  });
});

test('chooses these tiles for the layers of the official network at batch 128', () => {
  const tileOf = (size: number, channels: number, outputs: number, kernel: number) => {
    const shape = sameSize([128, size, size, channels], outputs, kernel);
    const { rows, columns, together } = choiceOf(shape, 'forward').tile;
    return `${rows}x${columns}${together === 1 ? ' in turns' : ''}`;
  };
  expect(tileOf(32, 128, 128, 3)).toBe('256x128');
  expect(tileOf(8, 256, 256, 3)).toBe('128x128');
  expect(tileOf(4, 256, 256, 3)).toBe('128x64');
  expect(tileOf(16, 256, 256, 1)).toBe('128x128 in turns');
});

test('splits weight gradients for the whole card, by shapes alone', () => {
  const layer = (size: number, channels: number, outputs: number) => sameSize([128, size, size, channels], outputs, 3);
  const cut = (...layers: ReturnType<typeof layer>[]) => {
    const { tile, run, microseconds } = cutOf(layers);
    return { tile: `${tile.rows}x${tile.columns}`, run, microseconds };
  };
  const one = layer(8, 256, 256);
  const alone = cut(one);
  const together = cut(...Array.from({ length: 10 }, () => one));
  // Ten together fill the card with fewer parts each, in less than ten times the time.
  expect(together.run).toBeGreaterThan(alone.run);
  expect(together.microseconds).toBeLessThan(8 * alone.microseconds);
  expect(cut(layer(16, 256, 256), one)).toEqual(cut(layer(16, 256, 256), one));
});
