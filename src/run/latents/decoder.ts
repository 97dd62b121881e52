// The decoder of model.folder as a part of a loss: distances of pictures instead of latents, whose gradients reach the latents.
import type { Device } from '../../device/device.ts';
import { div } from '../../kernels/elementwise.ts';
import { scope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Config } from '../config/types.ts';
import { fillWeights } from '../text/match.ts';
import { matchNetworks } from '../text/networks.ts';

export interface LatentDecoder extends Disposable {
  /** Pictures [N, H, W, 3], about in [-1, 1], of latents [N, h, w, C]. */
  decode(latents: Tensor): Tensor;
}

/** Loads the decoder of a configuration's latents. @throws FileError */
export async function openDecoder({ model }: Config, device: Device): Promise<LatentDecoder> {
  const { vae: matched } = await matchNetworks(model.folder, {});
  const vae = await fillWeights(matched, device);
  vae.eval();
  for (const [, weight] of vae.namedTensors()) weight.requireGrad(false);
  const { scalingFactor } = vae.options;
  const recompute = model.activation_checkpointing;
  return {
    decode: (latents) => scope(() => vae.decode(div(latents, scalingFactor), { recompute })),
    [Symbol.dispose]: () => vae.dispose(),
  };
}
