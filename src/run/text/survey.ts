// What the files of a text-to-image model hold, found without memory for their weights.
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import { isFolder } from '../../io/file.ts';
import type { WeightEntry, WeightFiles } from '../../io/weights.ts';
import type { AutoencoderKLOptions } from '../../nn/diffusers/autoencoder_kl.ts';
import type { CLIPTextOptions } from '../../nn/diffusers/clip_text.ts';
import type { UNet2DConditionOptions } from '../../nn/diffusers/unet2d_condition.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { type PartName, partNames, readModelIndex, variantKind } from './folder.ts';
import { type WeightChoice, weightChoices } from './match.ts';
import {
  type Configurations,
  type KeptWeights,
  loadedOf,
  type MatchedNetworks,
  matchNetworks,
  memoryOf,
} from './networks.ts';

/** The options of the three networks. */
export interface NetworkOptions {
  unet: Required<UNet2DConditionOptions>;
  vae: Required<AutoencoderKLOptions>;
  text_encoder: Required<CLIPTextOptions>;
}

/** A network of a text-to-image model. */
export interface TextToImagePart {
  name: PartName;
  tensors: number;
  parameters: number;
  /** Types of the numbers in the files, such as f16. */
  dtypes: string[];
  /** Bytes of its tensors in the files. */
  bytes: number;
  /** Bytes of its weights in memory, as they are asked to be kept. */
  memory: number;
  /** Files that hold them. */
  files: string[];
}

/** What the files of a text-to-image model hold. */
export interface TextToImageSummary {
  path: string;
  /** The pipeline that model_index.json names; absent for a single file. */
  pipeline?: string;
  parts: TextToImagePart[];
  parameters: number;
  /** Bytes of all tensors in the files. */
  bytes: number;
  /** Bytes of those that are loaded: without the autoencoder's encoder, unless it counts. */
  loadedBytes: number;
  /** Bytes of all weights in memory. */
  memory: number;
  /** Pixels for each number of a latent, in both directions. */
  factor: number;
  networks: NetworkOptions;
}

export interface InspectTextToImageOptions {
  /** Weights of a variant, such as 'fp16'; default: the plain files, or the only variant in the folder. */
  variant?: string;
  /** Configurations of the networks of a single file, as in config.json; default: those of Stable Diffusion 1. */
  configurations?: Configurations;
  /** How weights are kept, for the bytes in memory, as `loadTextToImage` takes it; default 'f32'. */
  weights?: WeightChoice;
  /** Whether the autoencoder's encoder counts; default true. */
  encoder?: boolean;
}

/** The kinds of its options, for functions that share them. */
export const inspectOptions: OptionKinds<InspectTextToImageOptions> = {
  variant: variantKind,
  configurations: kinds.object,
  weights: oneOf(weightChoices),
  encoder: kinds.boolean,
};

/**
 * Reads what a text-to-image model consists of: its networks, their sizes and files. Names and shapes of all tensors are
 * compared with the configurations; numbers are not read, except in files of torch.save.
 * @param path a folder as diffusers writes it, or a single file in CompVis' layout
 * @throws FileError as `loadTextToImage`
 * @example
 * const { parts, parameters } = await inspectTextToImage('instaflow');
 * parts.map(({ name }) => name); // ['unet', 'vae', 'text_encoder']
 * parameters === parts.reduce((sum, part) => sum + part.parameters, 0); // true
 */
export async function inspectTextToImage(
  path: string,
  options: InspectTextToImageOptions = {},
): Promise<TextToImageSummary> {
  checkArgument('inspectTextToImage', 'path', path, kinds.path);
  const { variant, configurations, ...kept } = checkOptions('inspectTextToImage', options, inspectOptions);
  return summaryOf(path, await matchNetworks(path, { variant, configurations }), kept);
}

const bytesOfNumber: Record<string, number> = { f16: 2, bf16: 2, f32: 4, f64: 8 };

const bytesOf = (entries: readonly WeightEntry[]) =>
  entries.reduce((sum, { shape, dtype }) => sum + sizeOf(shape) * bytesOfNumber[dtype], 0);

const entriesOf = (names: Iterable<string>, { weights }: { weights: WeightFiles }) =>
  Array.from(names, (name) => weights.tensors.get(name) as WeightEntry);

/** The summary of networks that have been matched with their files. */
export async function summaryOf(
  path: string,
  matched: MatchedNetworks,
  kept: KeptWeights,
): Promise<TextToImageSummary> {
  const parts = partNames.map((name): TextToImagePart => {
    const entries = entriesOf(matched[name].slots.keys(), matched[name]);
    return {
      name,
      tensors: entries.length,
      parameters: entries.reduce((sum, { shape }) => sum + sizeOf(shape), 0),
      dtypes: [...new Set(entries.map(({ dtype }) => dtype))].sort(),
      bytes: bytesOf(entries),
      memory: memoryOf(matched, name, kept),
      files: [...new Set(entries.map((entry) => entry.path))].sort(),
    };
  });
  const total = (of: (part: TextToImagePart) => number) => parts.reduce((sum, part) => sum + of(part), 0);
  const index = isFolder(path) ? await readModelIndex(path) : undefined;
  const pipeline = index?._class_name;
  const { unet, vae, text_encoder } = matched;
  return {
    path,
    ...(typeof pipeline === 'string' && { pipeline }),
    parts,
    parameters: total(({ parameters }) => parameters),
    bytes: total(({ bytes }) => bytes),
    loadedBytes: total(({ name }) => bytesOf(entriesOf(loadedOf(matched, name, kept).keys(), matched[name]))),
    memory: total(({ memory }) => memory),
    factor: vae.network.factor,
    networks: { unet: unet.network.options, vae: vae.network.options, text_encoder: text_encoder.network.options },
  };
}
