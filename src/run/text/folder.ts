// A text-to-image model as a folder of diffusers: model_index.json, and for each part a folder with config.json and weights.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { kind } from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { asFileError, exists, isFolder, readWhole } from '../../io/file.ts';
import { parseJsonFile } from '../../io/json.ts';
import { openWeights, type WeightFiles } from '../../io/weights.ts';
import type { JsonObject } from './configurations.ts';

/** The parts that have weights. */
export const partNames = ['unet', 'vae', 'text_encoder'] as const;
export type PartName = (typeof partNames)[number];

/** A part of a model: its configuration, and the files of its weights. */
export interface Part {
  config: JsonObject;
  /** The file of the configuration, for messages. */
  configPath: string;
  weights: WeightFiles;
}

const MAX_BYTES = 16 * 2 ** 20;

/** The name of a variant. */
export const variantKind = kind('a name such as "fp16"', (v) => typeof v === 'string' && /^\w+$/.test(v));

/** Reads a JSON object. @throws FileError */
export async function readJsonObject(path: string): Promise<JsonObject> {
  const value = parseJsonFile(await readWhole(path, MAX_BYTES), path);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FileError(path, 'is not a JSON object');
  return value as JsonObject;
}

/** What each part must be, as model_index.json names it. */
const classes: Record<PartName, string> = {
  unet: 'UNet2DConditionModel',
  vae: 'AutoencoderKL',
  text_encoder: 'CLIPTextModel',
};

/**
 * Reads the index of a model.
 * @throws FileError for a folder without it, and for models of another architecture, such as Stable Diffusion XL and FLUX
 */
export async function readModelIndex(folder: string): Promise<JsonObject> {
  const path = join(folder, 'model_index.json');
  const index = await readJsonObject(path);
  const pipeline = typeof index._class_name === 'string' ? index._class_name : 'a pipeline without a name';
  const present = (part: string) => Array.isArray(index[part]) && index[part][1] !== null;
  for (const other of ['text_encoder_2', 'text_encoder_3', 'transformer', 'prior', 'unet_2'])
    if (present(other))
      throw new FileError(
        path,
        `is ${pipeline} with the part "${other}"; this program reads Stable Diffusion 1 and 2 and InstaFlow`,
      );
  for (const part of partNames) {
    const given: unknown = index[part];
    if (!present(part)) throw new FileError(path, `names no part "${part}"`);
    if ((given as unknown[])[1] !== classes[part])
      throw new FileError(
        path,
        `has the ${part} ${JSON.stringify((given as unknown[])[1])}, expected ${classes[part]}`,
      );
  }
  return index;
}

/**
 * @throws FileError for a folder whose scheduler is of a network that predicts neither noise nor, as InstaFlow, a velocity: the
 * v-prediction of Stable Diffusion 2.1
 */
export async function refuseOtherPrediction(folder: string): Promise<void> {
  const path = join(folder, 'scheduler', 'scheduler_config.json');
  if (!(await exists(path))) return;
  const { prediction_type: type } = await readJsonObject(path);
  if (type === 'v_prediction' || type === 'sample')
    throw new FileError(
      path,
      `has prediction_type "${type}", as the 768-pixel models of Stable Diffusion 2 have; this program computes with networks that predict the noise or the velocity of a flow`,
    );
}

/** The first words of weight files: those of diffusers and those of transformers. */
const stems: Record<PartName, readonly string[]> = {
  unet: ['diffusion_pytorch_model'],
  vae: ['diffusion_pytorch_model'],
  text_encoder: ['model', 'pytorch_model'],
};

interface Candidate {
  file: string;
  /** The variant, such as "fp16"; '' for the plain files. */
  variant: string;
  /** Position in the order of preference among files of one variant. */
  rank: number;
}

/** The weight files of a part's folder: NAME[.VARIANT].safetensors, its index, NAME[.VARIANT].bin. */
function candidatesOf(names: readonly string[], stem: readonly string[]): Candidate[] {
  const variant = '(?:\\.([A-Za-z0-9_]+))?';
  const forms = stem.flatMap((name) => [
    new RegExp(`^${name}${variant}\\.safetensors$`),
    new RegExp(`^${name}\\.safetensors\\.index${variant}\\.json$`),
    new RegExp(`^${name}${variant}\\.bin$`),
  ]);
  return names.flatMap((file) =>
    forms.flatMap((form, rank) => {
      const found = form.exec(file);
      return found ? [{ file, variant: found[1] ?? '', rank }] : [];
    }),
  );
}

/** Opens the parts of a model. @param variant such as "fp16"; default: plain files, or the only variant that there is */
export async function openParts(folder: string, variant?: string): Promise<Record<PartName, Part>> {
  await readModelIndex(folder);
  const found = new Map<PartName, Candidate[]>();
  for (const part of partNames) {
    const at = join(folder, part);
    if (!isFolder(at)) throw new FileError(at, 'is missing: model_index.json names this part');
    const names = await readdir(at).catch((error) => {
      throw asFileError(at, error);
    });
    found.set(part, candidatesOf(names, stems[part]));
  }
  const variants = [...new Set([...found.values()].flat().map((file) => file.variant))].filter((one) => one !== '');
  if (variant !== undefined && !variants.includes(variant))
    throw new FileError(
      folder,
      `has no weights of the variant "${variant}"${variants.length > 0 ? `; it has ${variants.join(', ')}` : ''}`,
    );
  const open = async (part: PartName): Promise<Part> => {
    const at = join(folder, part);
    const configPath = join(at, 'config.json');
    const file = choose(found.get(part) as Candidate[], at, variant);
    return { config: await readJsonObject(configPath), configPath, weights: await openWeights(join(at, file)) };
  };
  return { unet: await open('unet'), vae: await open('vae'), text_encoder: await open('text_encoder') };
}

/** The file of the variant; plain files where a part has no such variant, as in diffusers. */
function choose(candidates: readonly Candidate[], folder: string, variant = ''): string {
  const best = (of: string) =>
    candidates.filter((file) => file.variant === of).sort((a, b) => a.rank - b.rank || (a.file < b.file ? -1 : 1))[0];
  const direct = best(variant) ?? best('');
  if (direct) return direct.file;
  const variants = [...new Set(candidates.map((file) => file.variant))];
  if (variants.length === 1) return best(variants[0]).file;
  if (variants.length > 1) throw new FileError(folder, `has the variants ${variants.join(', ')}; name one of them`);
  throw new FileError(folder, 'holds no weights, such as diffusion_pytorch_model.safetensors or model.safetensors');
}
