// Loads a text-to-image model from a folder of diffusers or from a single file.
import { join } from 'node:path';
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { deviceKind } from '../../device/device.ts';
import { openDefaultDevice } from '../../device/open_default.ts';
import { FileError, ValueError } from '../../errors.ts';
import { exists, isFolder } from '../../io/file.ts';
import { type PartName, refuseOtherPrediction, variantKind } from './folder.ts';
import { type WeightChoice, weightChoices } from './match.ts';
import { type Configurations, fillNetworks, matchNetworks, requireMemory } from './networks.ts';
import { summaryOf, type TextToImageSummary } from './survey.ts';
import { checkParts, type Prediction, type TextToImage, textToImageOf } from './text_to_image.ts';
import { loadTokenizer } from './tokenizer.ts';

export interface LoadTextToImageOptions {
  /** Default: the processor, or WebAssembly where no compiler is found; it is opened. */
  device?: Device;
  /** Weights of a variant, such as 'fp16'; default: the plain files, or the only variant in the folder. */
  variant?: string;
  /** Folder of the tokenizer; default: `tokenizer` in the model's folder. A single file has none. */
  tokenizer?: string;
  /**
   * What the network predicts; default 'velocity', as InstaFlow does. 'noise' for a checkpoint of Stable Diffusion 1, which then
   * is a flow from t = 0.064 to 1.
   */
  prediction?: Prediction;
  /**
   * How the weights of products are kept: 'f32' (default); 'files', in 16 bits where files have 16 bits, which halves their
   * memory and gives the same pictures bit for bit; 'f16' or 'bf16', which rounds what is wider. Products are computed in f32. Weights of
   * 16 bits are frozen: gradients flow through them, not to them. On CUDA only 'f32'.
   */
  weights?: WeightChoice;
  /** Whether the autoencoder can encode pictures, which takes 137 MB in f32 for Stable Diffusion; default true. */
  encoder?: boolean;
  /** Configurations of the networks of a single file, as in config.json; default: those of Stable Diffusion 1. */
  configurations?: Configurations;
  /** Called with a notice about the device that is opened. */
  onNotice?: (text: string) => void;
  /** Called before memory is allocated, with what the files hold. An error that it throws ends the loading. */
  onFound?: (summary: TextToImageSummary) => void;
  /** Called after each tensor with the part and the bytes read. An error that it throws ends the loading. */
  onProgress?: (progress: { part: PartName; bytes: number }) => void;
}

const loadOptions: OptionKinds<LoadTextToImageOptions> = {
  device: deviceKind,
  variant: variantKind,
  tokenizer: kinds.path,
  prediction: oneOf(['velocity', 'noise']),
  weights: oneOf(weightChoices),
  encoder: kinds.boolean,
  configurations: kinds.object,
  onNotice: kinds.callback,
  onFound: kinds.callback,
  onProgress: kinds.callback,
};

/**
 * Loads a model: InstaFlow, or Stable Diffusion 1 or 2 with `prediction: 'noise'`. Weights are not part of this package. Those of
 * InstaFlow are under CC BY-NC 4.0, those of Stable Diffusion under CreativeML Open RAIL-M: read their licences first.
 * Names, shapes and configurations are compared, and memory is checked, before weights are read.
 * @param path a folder as diffusers writes it, or a single file (.safetensors, .ckpt) in CompVis' layout with a `tokenizer`
 * @throws FileError naming what is missing, damaged or of another architecture; OutOfMemoryError. Nothing in a file is
 * executed, and nothing stays in memory after an error
 * @example
 * const model = await loadTextToImage('instaflow');
 * const { images, shape } = await model.generate({ prompt: 'a photo of a cat', size: 64 });
 * shape; // [1, 64, 64, 3]
 * await writePng('cat.png', imageGrid(images, shape));
 * model.dispose();
 */
export async function loadTextToImage(path: string, options: LoadTextToImageOptions = {}): Promise<TextToImage> {
  checkArgument('loadTextToImage', 'path', path, kinds.path);
  const checked = checkOptions('loadTextToImage', options, loadOptions);
  const { variant, prediction = 'velocity', configurations, onFound, onProgress, onNotice = () => {} } = checked;
  const kept = { weights: checked.weights, encoder: checked.encoder };
  if (!(await exists(path))) throw new FileError(path, 'no such file or folder; give the folder or file of a model');
  if (checked.tokenizer === undefined && !isFolder(path))
    throw new FileError(
      path,
      'is a single file, which has no tokenizer; name a folder of vocab.json and merges.txt as "tokenizer"',
    );
  const matched = await matchNetworks(path, { variant, configurations });
  if (checked.prediction === undefined && isFolder(path)) await refuseOtherPrediction(path);
  const tokenizer = await loadTokenizer(checked.tokenizer ?? join(path, 'tokenizer'));
  const outline = {
    unet: matched.unet.network,
    vae: matched.vae.network,
    text_encoder: matched.text_encoder.network,
  };
  checkParts(outline, tokenizer);
  onFound?.(await summaryOf(path, matched, kept));
  const device = checked.device ?? (await openDefaultDevice('cpu', {}, onNotice));
  if (device.kind === 'cuda' && (kept.weights ?? 'f32') !== 'f32')
    throw new ValueError(
      `[loadTextToImage] expected weights 'f32' on ${device.name}, got '${kept.weights}'; 16 bits are kept on cpu and wasm only`,
    );
  requireMemory(path, matched, device, kept);
  const networks = await fillNetworks(matched, device, kept, (part, bytes) => onProgress?.({ part, bytes }));
  return textToImageOf(networks, { tokenizer, prediction, device });
}
