// Captions of a configuration: the vocabulary made for them, which sample has which, and velocities that depend on them.
import { beforeAll, describe, expect, it } from 'vitest';
import { noGrad } from '../../../src/autograd/mode.ts';
import type { Device } from '../../../src/device/device.ts';
import { openDevice } from '../../../src/device/open.ts';
import { initialNoise, TIME_SCALE } from '../../../src/flow/index.ts';
import { add, mul, sub, tensor } from '../../../src/index.ts';
import type { CaptionUNet } from '../../../src/nn/index.ts';
import type { FlowNetwork } from '../../../src/run/arguments.ts';
import {
  type Captions,
  captionsInTurn,
  captionsOf,
  pairCaptions,
  tokensOf,
  trainedCaption,
} from '../../../src/run/captions/captions.ts';
import { sampledVelocity, sharesOf, trainedVelocity } from '../../../src/run/captions/velocity.ts';
import { learnTokenizer } from '../../../src/run/captions/vocabulary.ts';
import { buildModel } from '../../../src/run/checkpoints/model.ts';
import type { Config } from '../../../src/run/config/types.ts';
import { sampleModel } from '../../../src/run/sampling/sample.ts';
import { scope } from '../../../src/tensor/scope.ts';
import { configWith } from '../../support/config.ts';

const small = { 'model.nf': 8, 'model.heads': 2, 'model.text_width': 8, 'model.text_layers': 1 };
let config: Config;
let captions: Captions;
beforeAll(async () => {
  config = await configWith('digits_text', small);
  captions = captionsOf(config) as Captions;
});

describe('a vocabulary made for some texts', () => {
  it('merges the most frequent pairs first, until each word is one token', () => {
    // l o w</w>: 2 words; n e w</w>: 1.
    const tokenizer = learnTokenizer(['low new', 'low'], 6);
    expect(tokenizer.merges).toEqual(['l o', 'lo w</w>', 'e w</w>', 'n ew</w>']);
    expect(tokenizer.vocabulary.size).toBe(512 + 4 + 2);
    const [low, fresh] = ['low</w>', 'new</w>'].map((token) => tokenizer.vocabulary.get(token));
    const [start, end] = [516, 517];
    expect([...tokenizer.encode('NEW  low').ids]).toEqual([start, fresh, low, end, end, end]);
    // Another word is made of what there is: "lowe" of "lo", "w" and "e</w>".
    expect(tokenizer.idsOf('lowe')).toEqual(['lo', 'w', 'e</w>'].map((token) => tokenizer.vocabulary.get(token)));
    expect(tokenizer.idsOf('日').length).toBe(3);
  });

  it('of the ten captions has a token for each word of them', () => {
    const { table, tokenizer } = captions;
    expect(table).toHaveLength(11);
    expect([table[0], table[1], table[10]]).toEqual(['', 'a handwritten zero', 'a handwritten nine']);
    for (const text of table.slice(1)) expect(tokenizer.idsOf(text)).toHaveLength(3);
    expect(new Set(table.slice(1).map((text) => tokenizer.idsOf(text)[2])).size).toBe(10);
    expect(tokenizer.length).toBe(8);
    expect(captionsOf(config)).toBe(captions);
  });
});

describe('which caption a sample has', () => {
  it('in training that of its label, or the empty one for a tenth of the items', () => {
    const places = Array.from({ length: 20_000 }, (_, item) => trainedCaption(item % 10, item, config));
    places.forEach((place, item) => {
      if (place !== 0) expect(place).toBe((item % 10) + 1);
    });
    const empty = places.filter((place) => place === 0).length / places.length;
    // Three deviations of a share of 0.1 among 20,000 are 0.0064.
    expect(Math.abs(empty - 0.1)).toBeLessThan(0.0064);
    const other = { ...config, seed: config.seed + 1 };
    expect(places.map((_, item) => trainedCaption(item % 10, item, other))).not.toEqual(places);
  });

  it('in pairs one of the classes, or the empty one; a longer store begins with the same', () => {
    const column = pairCaptions(captions, 20_000, config);
    const shares = Array.from({ length: 11 }, (_, place) => column.filter((other) => other === place).length / 20_000);
    expect(Math.abs(shares[0] - 0.1)).toBeLessThan(0.0064);
    for (const share of shares.slice(1)) expect(Math.abs(share - 0.09)).toBeLessThan(0.0061);
    expect(pairCaptions(captions, 50, config)).toEqual(column.slice(0, 50));
  });

  it('else those of the classes in turn', () => {
    expect(captionsInTurn(captions, 8, 3).map((text) => text.split(' ')[2])).toEqual(['eight', 'nine', 'zero']);
  });

  it.each([
    [{ 'data.caption': 'a digit' }, /data\.caption: expected a text with \{class\} in it/],
    [{ 'data.caption': '' }, /data\.caption: expected a text with \{class\} in it/],
    [{ 'model.dropout': 0.1 }, /model\.dropout: expected 0/],
    [{ 'model.activation_checkpointing': true }, /model\.activation_checkpointing: expected false/],
    [{ 'data.dataset': 'FOLDER' }, /data\.dataset: expected one of DIGITS, MNIST, CIFAR10/],
    [{ 'reflow.reflow_type': 'train_online_reflow' }, /reflow\.reflow_type: expected another one/],
  ])('%j is refused', async (changes, message) => {
    await expect(configWith('digits_text', changes)).rejects.toThrow(message);
  });

  it('captions that are too long for the network are refused', async () => {
    const long = await configWith('digits_text', { 'model.text_length': 4 });
    expect(() => captionsOf(long)).toThrow(/model\.text_length is 4, but the captions .* take up to 5 tokens/);
  });
});

const distance = (a: Float32Array, b: Float32Array) => Math.max(...a.map((value, i) => Math.abs(value - b[i])));

/** Requires equal values up to rounding: which convolution algorithm runs may depend on the size of a batch. */
function expectSame(values: Float32Array, expected: Float32Array): void {
  expect(values).toHaveLength(expected.length);
  expect(distance(values, expected)).toBeLessThan(1e-5);
}

describe('velocities', () => {
  let device: Device;
  let model: FlowNetwork;
  beforeAll(async () => {
    device = await openDevice('cpu');
    model = buildModel(config, device).eval();
  });
  const points = (count: number) =>
    [
      initialNoise([count, 8, 8, 1], { seed: 5, device }),
      tensor(new Float32Array(count).fill(0.3), { device }),
    ] as const;
  const velocityOf = (texts: string[], guidance = 1, microBatch?: number) =>
    scope(() =>
      noGrad(() => {
        const [x, t] = points(texts.length);
        using velocity = sampledVelocity(model, config, { count: texts.length, texts, guidance, microBatch });
        return velocity(x, t).dataSync();
      }),
    ) as Float32Array;
  const texts = ['a handwritten two', '', 'a handwritten nine', 'another text', 'a handwritten two'];

  it('of training have the bits of those of sampling', () => {
    const places = [3, 0, 10, 3];
    const trained = scope(() =>
      noGrad(() => {
        const [x, t] = points(4);
        const shares = tensor(sharesOf(places, 11), { shape: [4, 11], device });
        return trainedVelocity(model as CaptionUNet, tokensOf(captions, captions.table), shares)(x, t).dataSync();
      }),
    );
    expect(trained).toEqual(velocityOf(places.map((place) => captions.table[place])));
  });

  it('of a sample do not depend on the other samples, nor on how many are evaluated at once', () => {
    const all = velocityOf(texts);
    expectSame(velocityOf(texts, 1, 2), all);
    expectSame(velocityOf(texts.slice(0, 1)), all.subarray(0, 64));
    const guided = velocityOf(texts, 1.5);
    expectSame(velocityOf(texts, 1.5, 2), guided);
  });

  it('are guided by the difference from the empty caption', () => {
    const expected = scope(() =>
      noGrad(() => {
        const [x, t] = points(texts.length);
        const captioned = model as CaptionUNet;
        const states = captioned.encode(tokensOf(captions, texts));
        const labels = mul(t, TIME_SCALE);
        const [none, own] = [captioned.forward(x, labels), captioned.forward(x, labels, states)];
        return add(none, mul(sub(own, none), 1.5)).dataSync();
      }),
    ) as Float32Array;
    const guided = velocityOf(texts, 1.5);
    const plain = velocityOf(texts);
    expectSame(guided, expected);
    expect(distance(guided, plain)).toBeGreaterThan(1e-4);
    // Guidance from the empty caption to itself changes nothing.
    expectSame(guided.subarray(64, 128), plain.subarray(64, 128));
  });

  it('are those of other data sets with classes too', async () => {
    const texts = { 'data.caption': 'a photo of: {class}', 'model.name': 'unet2d_condition' };
    for (const [preset, changes, name, shape] of [
      ['cifar10_small', {}, 'airplane', [2, 32, 32, 3]],
      ['digits', { 'data.dataset': 'MNIST', 'data.image_size': 28 }, 'zero', [2, 28, 28, 1]],
    ] as const) {
      const own = await configWith(preset, { ...small, ...texts, ...changes });
      expect(captionsOf(own)?.table[1]).toBe(`a photo of: ${name}`);
      using other = buildModel(own, device);
      const sampled = await sampleModel(other, own, { num: 2, solver: 'euler', steps: 1, guidance: 1.5, device });
      expect(sampled.shape).toEqual(shape);
    }
  });

  it('give samples that do not depend on the batches, and refuse texts where there is no text network', async () => {
    const request = { num: 12, seed: 7, steps: 2, device };
    const { images, nfe } = await sampleModel(model, config, request);
    expect(nfe).toBe(2);
    const parts = await sampleModel(model, config, { ...request, batch: 5, microBatch: 3 });
    expectSame(parts.images, images);
    const later = await sampleModel(model, config, { ...request, num: 2, first: 10 });
    expectSame(later.images, images.subarray(10 * 64));
    const named = await sampleModel(model, config, {
      ...request,
      num: 2,
      prompts: ['a handwritten zero', 'a handwritten one'],
    });
    expectSame(named.images, images.subarray(0, 2 * 64));
    const plain = await configWith('digits', { 'model.nf': 8 });
    using other = buildModel(plain, device);
    for (const wrong of [{ prompts: ['four'] }, { guidance: 2 }])
      await expect(sampleModel(other, plain, { ...request, ...wrong })).rejects.toThrow(
        /need(s)? a network with captions, but model\.name is ncsnpp/,
      );
    await expect(sampleModel(model, config, { ...request, prompts: [] })).rejects.toThrow(
      /one or more prompts, got none/,
    );
  });
});
