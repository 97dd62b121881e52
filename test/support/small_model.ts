// A text-to-image model of a few thousand numbers, with weights drawn at random.
import { join } from 'node:path';
import type { Device } from '../../src/device/device.ts';
import { AutoencoderKL, CLIPTextModel, Initializer, UNet2DCondition } from '../../src/nn/index.ts';
import { loadTokenizer, type TextToImage } from '../../src/run/index.ts';
import { textToImageOf } from '../../src/run/text/text_to_image.ts';
import { writeTokenizer } from './instaflow.ts';

/** Tokens of its vocabulary. */
export const VOCABULARY = 600;

/** The model on a device. Pictures are twice as large as latents. @param folder where its tokenizer is written */
export async function smallModel(device: Device, folder: string): Promise<TextToImage> {
  const init = new Initializer({ device, seed: 1 });
  const at = join(folder, 'tokenizer');
  writeTokenizer(at, VOCABULARY);
  const networks = {
    unet: new UNet2DCondition({ channels: [8, 16], layers: 1, heads: 2, contextChannels: 8, groups: 4 }, init),
    vae: new AutoencoderKL({ blockChannels: [4, 8], layers: 1, groups: 2 }, init),
    text_encoder: new CLIPTextModel({ vocabulary: VOCABULARY, width: 8, layers: 1, heads: 2 }, init),
  };
  for (const network of Object.values(networks)) network.eval();
  return textToImageOf(networks, { tokenizer: await loadTokenizer(at), prediction: 'velocity', device });
}
