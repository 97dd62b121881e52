// The official implementation's numbers (see README.md here), reproduced from its own checkpoints and configurations.
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { channelsFirst, channelsLast } from '../../src/data/index.ts';
import type { Device } from '../../src/device/device.ts';
import {
  encode,
  likelihood,
  networkVelocity,
  rectifiedFlowLoss,
  replayable,
  type SampleOptions,
  sample,
} from '../../src/flow/index.ts';
import { type ArrayFile, readNpz, toFloat32 } from '../../src/io/index.ts';
import { fromOfficial, type OfficialEntry, officialEntries } from '../../src/nn/official_names.ts';
import type { UNet } from '../../src/nn/unet.ts';
import { openCheckpoint } from '../../src/run/checkpoints/open.ts';
import { optimizerOf } from '../../src/run/checkpoints/optimizer.ts';
import type { Config } from '../../src/run/config/index.ts';
import { type Checkpoint, loadConfig, loadModel } from '../../src/run/index.ts';
import { trainingLoop } from '../../src/run/training/loop.ts';
import { tensor } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import { deviceModes, full, openTestDevice } from '../support/devices.ts';

type Value = { shape: readonly number[]; data: Float32Array };
type Values = Map<string, Value>;

const here = fileURLToPath(new URL('.', import.meta.url));

function largest(values: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  return largest(Float64Array.from(a, (value, i) => value - b[i]));
}

/** |a - b| / |b|, Euclidean. */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, size] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

/** Whole networks take minutes on the emulated card: test/nn/cuda.test.ts has a small one. */
const fast = deviceModes.filter(({ name }) => name !== 'cuda-emulated');

describe.each(fast)('on $label', ({ name, ...mode }) => {
  describe.each(['ddpmpp', 'ncsnpp_fir'])('%s', (golden) => {
    const folder = `${here}${golden}/`;
    let device: Device;
    let config: Config;
    let model: UNet;
    const arrays = async (file: string) => await readNpz(`${folder}${file}.npz`);
    const images = (array: ArrayFile | undefined) => {
      const { shape, data } = array as ArrayFile;
      const [n, c, h, w] = shape;
      return channelsLast(data as Float32Array, [n, h, w, c]);
    };
    const tensorOf = (array: ArrayFile | undefined) => {
      const [n, c, h, w] = (array as ArrayFile).shape;
      return tensor(images(array), { shape: [n, h, w, c], device });
    };
    const vector = (array: ArrayFile | undefined) => tensor((array as ArrayFile).data as Float32Array, { device });

    beforeAll(async () => {
      device = await openTestDevice(name, mode);
      config = await loadConfig(`${folder}config.json`);
      model = (await loadModel(`${folder}checkpoint_0.pth`, config, { device })).model as UNet;
    }, 120_000);
    afterAll(() => model.dispose());

    it('the forward pass is within 2e-5 of the largest output', async () => {
      const { x, labels, y } = Object.fromEntries(await arrays('forward'));
      const got = scope(() => model.eval().forward(tensorOf(x), vector(labels)).dataSync());
      expect(largestDifference(got, images(y))).toBeLessThan(2e-5 * largest(images(y)));
    });

    it('the gradient of every parameter is within 1e-4 relative', async () => {
      const train = await arrays('train');
      const expected = await arrays('grads');
      model.train();
      const loss = scope(() => {
        const options = { seed: 0, x0: tensorOf(train.get('z0')), t: vector(train.get('t')) };
        const value = rectifiedFlowLoss(networkVelocity(model), tensorOf(train.get('data')), options);
        value.backward();
        return value.item();
      });
      expect(loss).toBeCloseTo(Number(expected.get('loss')?.data[0]), 5);
      const most = largest(Array.from(expected.values(), ({ data }) => largest(data as Float32Array)));
      const own = model.stateDict();
      let compared = 0;
      for (const { official, path, layout, trainable } of officialEntries(model)) {
        if (!trainable) continue;
        const { shape, data } = expected.get(official) as ArrayFile;
        const want = fromOfficial(layout, { shape, data: toFloat32({ shape, data, dtype: 'f32' }) }).data;
        const grad = own.get(path)?.grad?.dataSync() as Float32Array;
        // These are the biases of attention's keys, whose true gradient is zero.
        if (largest(want) < 1e-6 * most) expect(largest(grad), official).toBeLessThanOrEqual(1e-6 * most);
        else expect(relativeError(grad, want), official).toBeLessThan(1e-4);
        own.get(path)?.grad?.dispose();
        (own.get(path) as { grad: unknown }).grad = null;
        compared++;
      }
      expect(compared).toBe(expected.size - 1);
    });

    it('three training steps give the same weights, average and moments', async () => {
      const { model: trained, checkpoint } = await loadModel(`${folder}checkpoint_0.pth`, config, {
        device,
        weights: 'raw',
      });
      const optimizer = optimizerOf(trained, config);
      const { moments, ema } = checkpoint;
      optimizer.restore(0, { ...(moments as NonNullable<typeof moments>), ema });
      const train = await arrays('train');
      const losses: number[] = [];
      const image = [config.data.image_size, config.data.image_size, config.data.num_channels];
      await trainingLoop({
        model: trained,
        optimizer,
        device,
        objective: {
          shapes: [image, image, []],
          fetch: async () => [
            images(train.get('data')),
            images(train.get('z0')),
            toFloat32(train.get('t') as ArrayFile),
          ],
          loss: ({ tensors: [x1, x0, t] }) => rectifiedFlowLoss(networkVelocity(trained), x1, { seed: 0, x0, t }),
        },
        batchSize: 4,
        from: 0,
        total: 3,
        onStep: ({ loss }) => {
          losses.push(loss);
        },
      });
      const official = train.get('losses')?.data as Float64Array;
      expect(relativeError(losses, official)).toBeLessThan(1e-5);
      const after = await openCheckpoint(`${folder}checkpoint_3.pth`, trained, config);
      expect(after.step).toBe(3);
      const gradients = await arrays('grads');
      const most = largest(Array.from(gradients.values(), ({ data }) => largest(data as Float32Array)));
      const entries = new Map(officialEntries(trained as UNet).map((entry) => [entry.path, entry]));
      const gradientOf = (path: string) => {
        const { official, layout } = entries.get(path) as OfficialEntry;
        return fromOfficial(layout, gradients.get(official) as Value).data;
      };
      // Where the gradient is as small as Adam's epsilon, its rounding decides the update: see README.md here.
      const within = (values: Values, want: Values, what: string) => {
        let [all, loose] = [0, 0];
        for (const [path, { data }] of values) {
          const expected = want.get(path)?.data as Float32Array;
          const gradient = gradientOf(path);
          for (let i = 0; i < data.length; i++, all++) {
            const error = Math.abs(data[i] - expected[i]);
            if (error <= 2e-6) continue;
            loose++;
            if (error > 2e-5 || Math.abs(gradient[i]) > 1e-6 * most)
              throw new Error(`${what} ${i} of ${path}: off by ${error}, gradient ${gradient[i]} of ${most} at most`);
          }
        }
        expect(loose / all, what).toBeLessThan(1e-4);
      };
      const weights: Values = new Map();
      for (const [path, t] of trained.namedParameters())
        weights.set(path, { shape: t.shape, data: t.dataSync() as Float32Array });
      within(weights, after.model, 'weight');
      const state = (kind: 'ema' | 'exp_avg' | 'exp_avg_sq') => {
        const values: Values = new Map();
        for (const [path, t] of optimizer.state(kind)) {
          values.set(path, { shape: t.shape, data: t.dataSync() as Float32Array });
          t.dispose();
        }
        return values;
      };
      within(state('ema'), after.ema, 'average');
      for (const kind of ['exp_avg', 'exp_avg_sq'] as const)
        for (const [path, { data }] of state(kind))
          if (largest(gradientOf(path)) > 1e-6 * most) {
            const want = (after.moments as NonNullable<Checkpoint['moments']>)[kind]?.get(path)?.data as Float32Array;
            expect(relativeError(data, want), `${kind} of ${path}`).toBeLessThan(1e-3);
          }
      optimizer.dispose();
      trained.dispose();
    });

    describe('samplers, within 1e-4', () => {
      let golden: Map<string, ArrayFile>;
      const shape = () => [config.data.image_size, config.data.image_size, config.data.num_channels];
      beforeAll(async () => {
        golden = await arrays('sample');
      });
      const from = (options: Partial<SampleOptions> & Pick<SampleOptions, 'solver'>) =>
        sample(replayable(networkVelocity(model.eval())), {
          shape: shape(),
          count: 4,
          seed: 0,
          latents: images(golden.get('z0')),
          device,
          ...options,
        });
      /** Maps the range of the network to [0, 1], as the official samplers do at the end. */
      const scaled = (values: Float32Array) => (config.data.centered ? values.map((value) => (value + 1) / 2) : values);

      it.each([1, 2, 10])('Euler with %i steps', async (steps) => {
        const { samples: got, nfe } = await from({ solver: 'euler', steps });
        expect(nfe).toBe(steps);
        expect(largestDifference(scaled(got), images(golden.get(`euler_${steps}`)))).toBeLessThan(1e-4);
      });

      it('RK45 at tolerance 1e-3, with the same NFE', async () => {
        const { samples: got, nfe } = await from({ solver: 'rk45', tolerance: 1e-3 });
        expect(nfe).toBe(Number(golden.get('rk45_0.001_nfe')?.data[0]));
        expect(largestDifference(scaled(got), images(golden.get('rk45_0.001')))).toBeLessThan(1e-4);
      });

      it('RK45 at tolerance 1e-5, as used to generate pairs', async () => {
        const { samples: z1, nfe } = await from({ solver: 'rk45', tolerance: 1e-5 });
        const want = Number(golden.get('rk45_1e-05_nfe')?.data[0]);
        expect(Math.abs(nfe - want)).toBeLessThanOrEqual(0.1 * want);
        expect(largestDifference(scaled(z1), images(golden.get('rk45_1e-05')))).toBeLessThan(1e-4);
        expect(largestDifference(z1, images(golden.get('pairs_z1')))).toBeLessThan(1e-4);
      }, 240_000);

      it('RK45 at tolerance 1e-5 from data back to noise', async () => {
        const { latents } = await encode(replayable(networkVelocity(model.eval())), images(golden.get('data')), {
          shape: shape(),
          solver: 'rk45',
          tolerance: 1e-5,
          device,
        });
        expect(largestDifference(latents, images(golden.get('reverse_z0')))).toBeLessThan(1e-4);
      }, 240_000);

      it('the teacher of online reflow', async () => {
        const { samples: z1 } = await from({ solver: 'euler', steps: 20 });
        expect(largestDifference(z1, images(golden.get('online_z1')))).toBeLessThan(1e-4);
      });
    });

    // This takes about a hundred evaluations, so each network and each kind of convolution runs once; RECTIFLOW_TEST_FULL runs all four.
    const likelihoods = full || (golden === 'ddpmpp') === !mode.exact;
    it.runIf(likelihoods)(
      'bits per dimension are within 1e-3 with the same probe',
      async () => {
        const { data, probe, bpd, nfe } = Object.fromEntries(await arrays('likelihood'));
        const { image_size: size, num_channels: channels, centered } = config.data;
        const got = await likelihood(replayable(networkVelocity(model.eval())), images(data), {
          shape: [size, size, channels],
          probe: images(probe),
          centered,
          device,
        });
        expect(largestDifference(got.bpd, bpd.data as Float32Array)).toBeLessThan(1e-3);
        expect(Math.abs(got.nfe - Number(nfe.data[0]))).toBeLessThanOrEqual(0.1 * Number(nfe.data[0]));
      },
      300_000,
    );

    it('converting to channels first inverts converting to channels last', async () => {
      const { x } = Object.fromEntries(await arrays('forward'));
      const [n, c, h, w] = x.shape;
      expect(channelsFirst(images(x), [n, h, w, c])).toEqual(x.data);
    });
  });
});
