// The three generators of digits that the page holds: the flow, its reflow and the one-step generator of the quickstart. They carry noise to
// images and, for the two flows, images back to noise.
import { type Device, noGrad } from 'rectiflow';
import { encode, initialNoise, networkVelocity, sample, type Velocity } from 'rectiflow/flow';
import { decodeSafetensors } from 'rectiflow/io';
import { Initializer, UNet, type UNetOptions } from 'rectiflow/nn';
import { type DigitFlow, digitFlows, PIXELS, SIDE } from '../model/digits.ts';
import { unpackNetworks } from '../model/packed_weights.ts';

const shape = [SIDE, SIDE, 1];
/** Steps of the way from an image to its noise and back, by Heun's method. */
export const INVERSE_STEPS = 20;

export class Digits {
  private readonly device: Device;
  private readonly networks: UNet[] = [];
  private readonly velocities = new Map<DigitFlow, Velocity>();

  /** @param bytes playground/digits/weights.safetensors */
  constructor(bytes: Uint8Array, device: Device) {
    this.device = device;
    const { tensors, metadata } = decodeSafetensors(bytes, 'the weights of the digits');
    const options = JSON.parse(metadata.options) as UNetOptions;
    const networks = unpackNetworks(tensors, digitFlows.length);
    for (const [i, flow] of digitFlows.entries()) {
      const network = new UNet(options, new Initializer({ seed: options.seed ?? 0, device }));
      network.loadStateDict(networks[i]);
      this.networks.push(network.eval());
      this.velocities.set(flow, networkVelocity(network));
    }
  }

  /** Noise [count, 64] of a seed; the same as that of `rectiflow sample`. */
  noise(seed: number, first: number, count: number): Float32Array {
    return noGrad(() => {
      const drawn = initialNoise([count, ...shape], { seed, first, device: this.device });
      const values = drawn.dataSync() as Float32Array;
      drawn.dispose();
      return values;
    });
  }

  /** Images [count, 64] of noise, in [0, 1] but for errors, by Euler steps. */
  async carry(flow: DigitFlow, latents: Float32Array, steps: number): Promise<Float32Array> {
    const { samples } = await sample(this.velocityOf(flow), {
      ...{ shape, count: latents.length / PIXELS, seed: 0, latents, device: this.device },
      ...{ solver: 'euler', steps },
    });
    return samples;
  }

  /** The noise of images, and the images that come from it again. */
  async invert(flow: DigitFlow, images: Float32Array): Promise<{ noise: Float32Array; again: Float32Array }> {
    const velocity = this.velocityOf(flow);
    const way = { shape, solver: 'heun', steps: INVERSE_STEPS, device: this.device } as const;
    const { latents } = await encode(velocity, images, way);
    const { samples } = await sample(velocity, { ...way, count: images.length / PIXELS, seed: 0, latents });
    return { noise: latents, again: samples };
  }

  dispose(): void {
    for (const network of this.networks) network.dispose();
  }

  private velocityOf(flow: DigitFlow): Velocity {
    return this.velocities.get(flow) as Velocity;
  }
}
