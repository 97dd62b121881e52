// A network with captions: its text network and its tensors, captions by ids and by shares, the empty caption, recording.
import { beforeAll, describe, expect, it } from 'vitest';
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { TIME_SCALE } from '../../src/flow/index.ts';
import { matmul, mul, randn, reshape, sum, tensor } from '../../src/index.ts';
import { CaptionUNet, type CaptionUNetOptions, Initializer, UNet2DCondition } from '../../src/nn/index.ts';
import { empty } from '../../src/tensor/create.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

const options: CaptionUNetOptions = {
  imageSize: 8,
  channels: 1,
  baseChannels: 8,
  channelMultipliers: [1, 2],
  residualBlocks: 1,
  attentionResolutions: [4],
  heads: 2,
  textWidth: 8,
  textLayers: 2,
  vocabulary: 6,
  emptyCaption: [4, 5, 5],
  seed: 3,
};
const captions = [
  [4, 1, 5],
  [4, 2, 5],
];

describe.each(deviceNames)('on %s', (name) => {
  let device: Device;
  let network: CaptionUNet;
  beforeAll(async () => {
    device = await openTestDevice(name);
    network = new CaptionUNet(options, new Initializer({ seed: 3, device })).eval();
  });
  const points = () => [randn([2, 8, 8, 1], { seed: 1, device }), tensor([0.1, 0.9], { device })] as const;

  it('captions by shares have the bits of captions by ids', () =>
    scope(() => {
      const ids = tensor(Int32Array.from(captions.flat()), { shape: [2, 3], dtype: 'i32', device });
      const byIds = network.text_encoder.forward(ids).dataSync();
      expect(network.encode(captions).dataSync()).toEqual(byIds);
      expect(new Set(byIds).size).toBeGreaterThan(10);
    }));

  it('the caption changes the velocity, and none stands for the empty one', () =>
    scope(() =>
      noGrad(() => {
        const [x, t] = points();
        const labels = mul(t, TIME_SCALE);
        const own = network.forward(x, labels, network.encode(captions)).dataSync();
        const swapped = network.forward(x, labels, network.encode([...captions].reverse())).dataSync();
        const none = network.forward(x, labels).dataSync();
        expect(
          network.forward(x, labels, network.encode([options.emptyCaption, options.emptyCaption])).dataSync(),
        ).toEqual(none);
        for (const other of [swapped, none]) expect(largestDifference(own, other)).toBeGreaterThan(1e-3);
      }),
    ));

  it('the network gets the time that runs from 1000 at noise to 0 at data', () =>
    scope(() =>
      noGrad(() => {
        const [x] = points();
        const text = network.encode(captions);
        const labels = mul(tensor([0, 1], { device }), TIME_SCALE);
        const direct = network.unet.forward(x, tensor([1000, 0], { device }), text).dataSync();
        expect(largestDifference(network.forward(x, labels, text).dataSync(), direct)).toBeLessThan(1e-4);
      }),
    ));

  it('captions can be selected by a product while work is recorded', () =>
    scope(() =>
      noGrad(() => {
        const shares = keep(
          tensor(
            [
              [0, 1],
              [1, 0],
            ],
            { device },
          ),
        );
        const out = keep(empty([2, 3, 8], { device }));
        const work = () =>
          scope(() => {
            const selected = matmul(shares, reshape(network.encode(captions), [2, 24]));
            device.copy(out.address, selected.address, 4 * selected.size);
          });
        work();
        const recording = device.record(work);
        shares.write(Float32Array.of(1, 0, 0, 1));
        recording.replay();
        expect(out.dataSync()).toEqual(network.encode(captions).dataSync());
        recording[Symbol.dispose]();
        for (const kept of [shares, out]) kept.dispose();
      }),
    ));

  it('gradients reach the text network, up to the tokens that the captions have', () => {
    const trained = new CaptionUNet(options, new Initializer({ seed: 4, device }));
    const { weight } = trained.text_encoder.text_model.embeddings.token_embedding;
    scope(() => {
      const [x, t] = points();
      const v = trained.forward(x, mul(t, TIME_SCALE), trained.encode(captions));
      sum(mul(v, v)).backward();
    });
    const gradient = weight.grad?.dataSync() as Float32Array;
    const rows = Array.from({ length: 6 }, (_, row) =>
      gradient.subarray(8 * row, 8 * row + 8).some((value) => value !== 0),
    );
    expect(rows).toEqual([false, true, true, false, true, true]);
    trained.dispose();
  });
});

it('its tensors have the names of transformers and diffusers', () => {
  using network = new CaptionUNet(options);
  const names = [...network.stateDict().keys()];
  using unet = new UNet2DCondition({
    ...{ inChannels: 1, outChannels: 1, channels: [8, 16], attends: [false, true], layers: 1 },
    ...{ heads: 2, contextChannels: 8, groups: 2 },
  });
  expect(names.filter((name) => name.startsWith('unet.'))).toEqual(
    [...unet.stateDict().keys()].map((name) => `unet.${name}`),
  );
  expect(names).toContain('text_encoder.text_model.encoder.layers.1.self_attn.q_proj.weight');
  expect(names).toContain('unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight');
  expect(names.every((name) => /^(unet|text_encoder)\./.test(name))).toBe(true);
});

it('refuses captions and options that do not fit', () => {
  using network = new CaptionUNet(options);
  expect(() => network.encode([])).toThrow(/one or more captions of 3 tokens, got none/);
  expect(() => network.encode([[4, 5]])).toThrow(/captions of 3 tokens, got \[2\]/);
  expect(() => network.encode([[4, 6, 5]])).toThrow(/tokens from 0 to 5, got 6/);
  expect(() => network.encode([[4, 0.5, 5]])).toThrow(/tokens from 0 to 5, got 0\.5/);
  expect(() => new CaptionUNet({ ...options, emptyCaption: [4, 6] })).toThrow(/tokens below 6, got 6/);
  expect(() => new CaptionUNet({ ...options, heads: 3 })).toThrow(/heads that divide/);
  expect(() => new CaptionUNet({ ...options, channelMultipliers: [] })).toThrow(/channelMultipliers/);
});

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}
