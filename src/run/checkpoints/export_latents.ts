// What training made of a flow of latents, in the formats that others read: a folder of diffusers, or a file of low-rank changes in
// kohya's layout. Both hold the averaged weights, as samples of other flows do.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Device } from '../../device/device.ts';
import { openDefaultDevice } from '../../device/open_default.ts';
import { ConfigError, FileError } from '../../errors.ts';
import type { ArrayFile } from '../../io/array.ts';
import { writeSafetensors } from '../../io/index.ts';
import { compareState, describeMismatch, type StateValues } from '../../nn/module.ts';
import type { Config } from '../config/types.ts';
import { loadTextToImage } from '../text/load.ts';
import { saveTextToImage } from '../text/save.ts';
import type { Checkpoint } from './checkpoint.ts';
import { requireFinite } from './finite.ts';
import { outlineModel } from './model.ts';

/** The averaged weights of a checkpoint. @throws FileError unless they fit the configuration */
function weightsOf({ path, ema }: Checkpoint, config: Config): StateValues {
  using outline = outlineModel(config);
  const mismatch = describeMismatch(compareState(outline.stateDict(), ema));
  if (mismatch.length > 0) throw new FileError(path, ['does not fit this model:', ...mismatch]);
  requireFinite(path, { weights: ema });
  return ema;
}

/**
 * Writes low-rank changes in kohya's layout, with alpha equal to the rank.
 * @returns the number of tensors
 * @throws ConfigError for a model whose weights were trained
 */
export async function writeLora(to: string, checkpoint: Checkpoint, config: Config): Promise<number> {
  const { lora_rank: rank } = config.model;
  if (rank === 0)
    throw new ConfigError(
      `${checkpoint.path} holds weights, not low-rank changes (model.lora_rank 0); give the name of a folder to write`,
    );
  const tensors = new Map<string, ArrayFile>();
  for (const [name, { shape, data }] of weightsOf(checkpoint, config)) {
    const own = name.replace(/^lora\./, '');
    tensors.set(own, { shape: [...shape], dtype: 'f32', data });
    if (own.endsWith('.lora_down.weight'))
      tensors.set(own.replace(/lora_down\.weight$/, 'alpha'), { shape: [], dtype: 'f32', data: Float32Array.of(rank) });
  }
  await writeSafetensors(to, tensors, { format: 'pt', ss_network_dim: String(rank), ss_network_alpha: String(rank) });
  return tensors.size;
}

/**
 * Writes the whole model as a folder that diffusers opens: the trained network, and the other parts of model.folder.
 * @returns the number of tensors of the trained network
 */
export async function writeStudent(
  to: string,
  checkpoint: Checkpoint,
  config: Config,
  options: { device?: Device; onNotice?: (text: string) => void } = {},
): Promise<number> {
  const weights = weightsOf(checkpoint, config);
  const device = options.device ?? (await openDefaultDevice('cpu', {}, options.onNotice ?? (() => {})));
  const { folder, tokenizer, lora_rank: rank } = config.model;
  using model = await loadTextToImage(folder, {
    device,
    prediction: 'velocity',
    ...(tokenizer !== '' && { tokenizer }),
  });
  if (rank === 0) {
    const own = new Map(Array.from(weights, ([name, value]) => [name.replace(/^unet\./, ''), value]));
    model.unet.loadStateDict(own, checkpoint.path);
  } else {
    const temporary = await mkdtemp(join(tmpdir(), 'rectiflow-'));
    try {
      const file = join(temporary, 'changes.safetensors');
      await writeLora(file, checkpoint, config);
      await model.addLora(file);
    } finally {
      await rm(temporary, { recursive: true });
    }
  }
  await saveTextToImage(to, model);
  return model.unet.stateDict().size;
}
