// Winograd's algorithms: each pass of each tile size against sums in float64, within its error bound; the same bits with 1, 2 and 3
// threads; and which convolutions use which algorithm. Shapes are in panels of channels, whose width depends on the instruction
// set.
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { algorithmFor, panelOf, useTuning } from '../../src/kernels/conv/algorithm.ts';
import { conv2d } from '../../src/kernels/conv/conv.ts';
import { convForward, convInputGradient, convWeightGradient } from '../../src/kernels/conv/cpu.ts';
import {
  type ConvShape,
  convShapeOf,
  inputShape,
  outputShape,
  toTable,
  weightShape,
} from '../../src/kernels/conv/shape.ts';
import { type Algorithm, convPasses } from '../../src/kernels/tuning/table.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { lesserSets } from '../support/devices.ts';
import { fill, normal, random } from '../support/random.ts';

interface Layer {
  n: number;
  height: number;
  width: number;
  /** The numbers of channels in panels. */
  inputs: number;
  outputs: number;
  padding: number;
}

const layer = (n: number, height: number, width: number, inputs: number, outputs: number, padding = 1): Layer => ({
  n,
  height,
  width,
  inputs,
  outputs,
  padding,
});

const layers: Record<string, Layer> = {
  'a tile': layer(1, 4, 4, 1, 1),
  'a pixel': layer(1, 1, 1, 1, 1),
  'edges within tiles': layer(2, 7, 10, 2, 1),
  'without padding': layer(1, 6, 9, 1, 2, 0),
  'padding of 2': layer(2, 5, 3, 1, 1, 2),
  'long sums': layer(1, 8, 8, 5, 3),
  'more tiles than a block of them, and than a band': layer(3, 31, 26, 1, 1),
  'more channels than a block of them': layer(1, 35, 30, 5, 2),
};

/** Error bounds against float64 for N(0, 1) inputs: relative root mean square, and the largest error relative to the largest value. */
const bounds: Record<Exclude<Algorithm, 'direct'>, { rms: number; largest: number }> = {
  winograd2: { rms: 2e-6, largest: 8e-6 },
  winograd4: { rms: 8e-6, largest: 3e-5 },
};

/** Devices of 1, 2 and 3 threads for each instruction set. */
const sets = ['native', ...lesserSets];
const devicesOf: Record<string, Device[]> = {};
beforeAll(async () => {
  for (const march of sets)
    devicesOf[march] = await Promise.all([1, 2, 3].map((threads) => openDevice('cpu', { threads, march })));
}, 240_000);

/** The three passes on the host, computed in float64 from f32 numbers. */
function reference(x: Float64Array, w: Float64Array, dy: Float64Array, shape: ConvShape): Float64Array[] {
  const { batch: n, height: h, width: wide, channels: c, outputHeight: outH, outputWidth: outW, outputs: k } = shape;
  const y = new Float64Array(dy.length);
  const dx = new Float64Array(x.length);
  const dw = new Float64Array(w.length);
  for (let out = 0; out < n * outH * outW; out++)
    for (let tap = 0; tap < 9; tap++) {
      const iy = (Math.floor(out / outW) % outH) - shape.paddingY + Math.floor(tap / 3);
      const ix = (out % outW) - shape.paddingX + (tap % 3);
      if (iy < 0 || iy >= h || ix < 0 || ix >= wide) continue;
      const pixel = ((Math.floor(out / (outH * outW)) * h + iy) * wide + ix) * c;
      for (let o = 0; o < k; o++) {
        const weights = (o * 9 + tap) * c;
        const gradient = dy[out * k + o];
        let sum = 0;
        for (let i = 0; i < c; i++) {
          sum += x[pixel + i] * w[weights + i];
          dx[pixel + i] += gradient * w[weights + i];
          dw[weights + i] += gradient * x[pixel + i];
        }
        y[out * k + o] += sum;
      }
    }
  return [y, dx, dw];
}

function errors(got: Float32Array, want: Float64Array): { rms: number; largest: number } {
  let [difference, size, worst, most] = [0, 0, 0, 0];
  for (let i = 0; i < want.length; i++) {
    difference += (got[i] - want[i]) ** 2;
    size += want[i] ** 2;
    worst = Math.max(worst, Math.abs(got[i] - want[i]));
    most = Math.max(most, Math.abs(want[i]));
  }
  return { rms: Math.sqrt(difference / size), largest: worst / most };
}

function runPasses(device: Device, algorithm: Algorithm, shape: ConvShape, arrays: readonly Float64Array[]) {
  return scope(() => {
    const [x, weight, dy] = [inputShape(shape), weightShape(shape), outputShape(shape)].map((dims, i) =>
      tensor(Array.from(arrays[i]), { shape: dims, device }),
    );
    return [
      convForward(x, weight, shape, { scale: 1 }, algorithm),
      convInputGradient(dy, weight, shape, 1, algorithm),
      convWeightGradient(x, dy, shape, 1, algorithm),
    ].map((t) => t.dataSync() as Float32Array);
  });
}

const variants = sets.flatMap((march) =>
  (['winograd2', 'winograd4'] as const).map((algorithm) => ({ algorithm, march })),
);

describe.each(variants)('$algorithm, $march', ({ algorithm, march }) => {
  test.each(Object.entries(layers))('%s', (_, { n, height, width, inputs, outputs, padding }) => {
    const devices = devicesOf[march];
    const panel = panelOf(devices[0]);
    const [c, k] = [inputs * panel, outputs * panel];
    const shape = convShapeOf([n, height, width, c], [k, 3, 3, c], { paddings: [padding, padding] });
    const draw = random(`winograd ${toTable(shape)}`);
    const arrays = [inputShape(shape), weightShape(shape), outputShape(shape)].map(
      (dims) => fill(normal(dims), draw).data as Float64Array,
    );
    const want = reference(arrays[0], arrays[1], arrays[2], shape);
    const [one, ...others] = devices.map((device) => runPasses(device, algorithm, shape, arrays));
    for (const [i, pass] of convPasses.entries()) {
      const { rms, largest } = errors(one[i], want[i]);
      expect(rms, `${pass}, relative root mean square`).toBeLessThan(bounds[algorithm].rms);
      expect(largest, `${pass}, largest`).toBeLessThan(bounds[algorithm].largest);
      for (const other of others) expect(other[i], `${pass}, bits`).toEqual(one[i]);
    }
  });
});

/** How far an output may be from a pixel that affects it. */
const reach = { direct: 1, winograd2: 1, winograd4: 3 } as const;

test.each(Object.entries(reach) as [keyof typeof reach, number][])(
  '%s: an infinite pixel reaches outputs up to %i away',
  (algorithm, distance) => {
    const [device] = devicesOf.native;
    const c = panelOf(device);
    const size = 16;
    const shape = convShapeOf([1, size, size, c], [c, 3, 3, c], { paddings: [1, 1] });
    const ones = [size * size * c, c * 9 * c, size * size * c].map((count) => new Float64Array(count).fill(1));
    let furthest = 0;
    // The pixel takes every position within a tile.
    for (let place = 5; place < 9; place++) {
      const x = ones[0].slice();
      x[(place * size + place) * c] = Number.POSITIVE_INFINITY;
      const [y] = runPasses(device, algorithm, shape, [x, ones[1], ones[2]]);
      for (let pixel = 0; pixel < size * size; pixel++) {
        const away = Math.max(Math.abs(Math.floor(pixel / size) - place), Math.abs((pixel % size) - place));
        const values = y.subarray(pixel * c, (pixel + 1) * c);
        if (away <= 1) expect(values.some(Number.isFinite)).toBe(false);
        if (values.every(Number.isFinite)) continue;
        furthest = Math.max(furthest, away);
        // A direct sum stays infinite, without NaN.
        if (algorithm === 'direct') expect(values.every((v) => v === Number.POSITIVE_INFINITY)).toBe(true);
      }
    }
    expect(furthest).toBe(distance);
  },
);

describe('choice of algorithm', () => {
  const shapeOf = (size: number, c: number, k: number, kernel = 3, stride = 1) => {
    const padding = kernel >> 1;
    const steps = { strides: [stride, stride], paddings: [padding, padding] } as const;
    return convShapeOf([4, size, size, c], [k, kernel, kernel, c], steps);
  };

  test('uses Winograd for the most expensive layers, and direct sums for unsupported shapes', () => {
    const [device] = devicesOf.native;
    for (const pass of convPasses) {
      expect(algorithmFor(device, shapeOf(32, 128, 128), pass)).toBe('winograd4');
      expect(algorithmFor(device, shapeOf(16, 256, 256), pass)).toBe('winograd4');
      for (const shape of [
        shapeOf(32, 128, 128, 1),
        shapeOf(32, 128, 128, 5),
        shapeOf(32, 128, 128, 3, 2),
        shapeOf(32, 3, 128),
        shapeOf(32, 128, 3),
      ])
        expect(algorithmFor(device, shape, pass)).toBe('direct');
    }
  });

  test('uses direct sums on an exact device', async () => {
    const device = await openDevice('cpu', { threads: 1, exact: true });
    expect(device.exact).toBe(true);
    for (const pass of convPasses) expect(algorithmFor(device, shapeOf(32, 128, 128), pass)).toBe('direct');
  });

  test("follows the user's tuning table, and counts pixels of tiles outside the image", () => {
    const rates = (direct: number, two: number, four: number) => ({
      direct: [[[direct]]],
      winograd2: [[[two]]],
      winograd4: [[[four]]],
    });
    const own = rates(100, 200, 300);
    useTuning({
      tiles: [64],
      channels: [64],
      rates: { forward: own, inputGradient: rates(3, 2, 1), weightGradient: rates(1, 2, 1) },
    });
    try {
      const [device] = devicesOf.native;
      const panel = panelOf(device);
      expect(algorithmFor(device, shapeOf(16, panel, panel), 'forward')).toBe('winograd4');
      expect(algorithmFor(device, shapeOf(16, panel, panel), 'inputGradient')).toBe('direct');
      expect(algorithmFor(device, shapeOf(16, panel, panel), 'weightGradient')).toBe('winograd2');
      // For 6 x 6 pixels, tiles of 4 x 4 use 36 of 64 pixels; for 5 x 5, tiles of 2 x 2 use 25 of 36.
      expect(algorithmFor(device, shapeOf(6, panel, panel), 'forward')).toBe('winograd2');
      expect(algorithmFor(device, shapeOf(5, panel, panel), 'forward')).toBe('winograd2');
      expect(algorithmFor(device, shapeOf(1, panel, panel), 'forward')).toBe('direct');
    } finally {
      useTuning(undefined);
    }
  });
});

test.each([undefined, ...lesserSets])(
  'a convolution without input channels gives the bias, with kernels for %s',
  async (march) => {
    const device = await openDevice('cpu', { march });
    const y = scope(() => {
      const bias = tensor(
        Float32Array.from({ length: 64 }, (_, i) => i),
        { device },
      );
      const [x, weight] = [
        [1, 4, 4, 0],
        [64, 3, 3, 0],
      ].map((shape) => tensor([], { shape, device }));
      return conv2d(x, weight, { bias, padding: 1 }).dataSync();
    });
    expect(Array.from(y)).toEqual(Array.from({ length: 16 * 64 }, (_, i) => i % 64));
  },
);
