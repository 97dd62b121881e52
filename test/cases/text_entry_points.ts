// Statements about the gradients of the networks and velocities of text to image, as in entry_points.ts.
import type { Device } from '../../src/device/device.ts';
import * as flow from '../../src/flow/index.ts';
import * as engine from '../../src/index.ts';
import * as nn from '../../src/nn/index.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** A network with values drawn at random, on leaves of these shapes. */
const networkOf = <M extends nn.Module>(
  make: (init: nn.Initializer) => M,
  leaves: readonly number[][],
  run: (network: M, leaves: Tensor[]) => Tensor | Tensor[],
) => ({
  differentiable: (device: Device) => {
    const module = make(new nn.Initializer({ device }));
    return { leaves, module, run: (given: Tensor[]) => run(module, given) };
  },
});

/** A function of leaves of these shapes. */
const of = (leaves: readonly number[][], run: (leaves: Tensor[]) => Tensor) => ({
  differentiable: () => ({ leaves, run }),
});

const state = [2, 3];

export const textNetworks = {
  AutoencoderKL: networkOf(
    (init) => new nn.AutoencoderKL({ blockChannels: [2, 4], groups: 2, layers: 1, latentChannels: 2 }, init),
    [[1, 4, 4, 3]],
    (network, [x]) => {
      const { mean, logvar } = network.encode(x);
      return [network.decode(mean), logvar];
    },
  ),
  CaptionUNet: networkOf(
    (init) =>
      new nn.CaptionUNet(
        {
          ...{ imageSize: 4, channels: 1, baseChannels: 4, channelMultipliers: [1, 2], residualBlocks: 1 },
          ...{
            attentionResolutions: [2],
            heads: 2,
            textWidth: 4,
            textLayers: 1,
            vocabulary: 4,
            emptyCaption: [2, 3, 3],
          },
        },
        init,
      ),
    [[1, 4, 4, 1], [1]],
    (network, [x, t]) => network.forward(x, engine.add(engine.mul(t, 10), 400), network.encode([[2, 1, 3]])),
  ),
  CLIPTextModel: networkOf(
    (init) => new nn.CLIPTextModel({ vocabulary: 5, width: 4, layers: 2, heads: 2, positions: 3 }, init),
    [[1]],
    (network, [x]) => {
      const ids = engine.tensor([[2, 0, 2]], { dtype: 'i32', device: x.device });
      return engine.mul(network.forward(ids), x);
    },
  ),
  UNet2DCondition: { checkedIn: 'golden/instaflow.test.ts' },
};

export const textVelocities = {
  guided: of([state, [2], [2, 3], [1, 3]], ([x, t, condition, unconditional]) => {
    const velocity: flow.ConditionedVelocity = (y, times, c) =>
      engine.sin(engine.add(engine.mul(y, c), engine.reshape(times, [-1, 1])));
    const options = { condition, unconditional, scale: 1.5, interval: [0.1, 2] as const };
    return flow.guided(velocity, options)(x, engine.add(t, 0.5));
  }),
  noisePredictionVelocity: of([state, [2]], ([x, t]) => {
    const predict = (y: Tensor, tau: Tensor) =>
      engine.sin(engine.add(y, engine.mul(engine.reshape(tau, [-1, 1]), 1e-3)));
    return flow.noisePredictionVelocity(predict)(x, engine.add(engine.mul(t, 1e-4), 0.4));
  }),
  stableDiffusionBetas: { none: 'numbers of the host' },
};
