// Text to image against PyTorch: the network, the decoder and a picture of one step, with the sizes of InstaFlow and weights by a formula.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { JsonObject } from '../../src/run/text/configurations.ts';
import { decoderWork, unetWork, type Work } from '../../src/run/text/costs.ts';
import { type parts, pipelineShapes, readJson, shapesOf, writePipeline } from '../../test/support/instaflow.ts';
import { writeFullSizeModel } from '../text/full_size.ts';
import type { Workers } from './comparison.ts';
import type { StepComparison } from './steps.ts';

const FOLDER = fileURLToPath(new URL('../.text', import.meta.url));
/** The largest difference between both sides, relative to the largest value. */
const MOST_DIFFERENCE = 1e-4;

export interface TextSizes {
  /** A folder of diffusers. */
  folder: string;
  /** Height and width of latents. */
  size: number;
  /** Floating-point operations, as plain products. */
  flops: { network: number; decoder: number };
}

/** Writes the folder at first use. @param small the networks of the tests, in some seconds */
export async function textSizes(small: boolean, say: (text: string) => void): Promise<TextSizes> {
  const folder = join(FOLDER, small ? 'small' : 'full');
  const size = small ? 16 : 64;
  const config = (part: (typeof parts)[number]) => readJson<JsonObject>('full', `${part}_config.json`);
  const full = () => shapesOf({ unet: config('unet'), vae: config('vae'), text_encoder: config('text_encoder') });
  const { networks, shapes } = small ? pipelineShapes() : full();
  if (!existsSync(join(folder, 'unet', 'diffusion_pytorch_model.safetensors.index.json'))) {
    say(`writing weights into ${folder}, once`);
    if (small) await writePipeline(folder, shapes);
    else await writeFullSizeModel(folder);
  }
  const all = ({ convolution, linear, attention }: Work) => convolution + linear + attention;
  const flops = {
    network: all(unetWork(networks.unet.options, [size, size])),
    decoder: all(decoderWork(networks.vae.options, [size, size])),
  };
  return { folder, size, flops };
}

export function textComparisons({ folder, size, flops }: TextSizes, rounds: number): StepComparison[] {
  const of = (name: string, part: string, operations: number, options: object = {}): StepComparison => ({
    name,
    workload: { kind: 'text', folder, part, size, batch: 1, ...options },
    opponents: { pytorch: { worker: 'torch', options: {} } },
    ratios: { [name.replaceAll(' ', '_')]: 'pytorch' },
    flops: operations,
    turns: { rounds, warmup: 1 },
  });
  return [
    of('text decoder', 'decoder', flops.decoder),
    of('text network', 'network', flops.network),
    of('text network, weights of 16 bits', 'network', flops.network, { weights: 'files' }),
    of('text picture', 'picture', flops.network + flops.decoder),
  ];
}

/** @throws Error unless both sides compute the same; the parts are asked one after the other, as memory is */
export async function requireSameText({ folder, size }: TextSizes, { engine, torch }: Workers): Promise<void> {
  for (const part of ['network', 'decoder']) {
    const [ours, theirs] = await Promise.all(
      [engine, torch].map((worker) => worker.ask<{ values: number[] }>('evaluate_text', { folder, part, size })),
    );
    let [off, largest] = [0, 0];
    for (const [i, value] of theirs.values.entries()) {
      off = Math.max(off, Math.abs(value - ours.values[i]));
      largest = Math.max(largest, Math.abs(value));
    }
    if (!(off <= MOST_DIFFERENCE * largest) || ours.values.length !== theirs.values.length)
      throw new Error(
        `the ${part} of text to image differs by ${off} from PyTorch's, whose largest value is ${largest}`,
      );
  }
}
