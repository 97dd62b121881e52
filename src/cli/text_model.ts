// Options of commands that load a text-to-image model, and what they say about it.

import { statSync } from 'node:fs';
import type { Device } from '../device/device.ts';
import { UsageError } from '../errors.ts';
import { solverNames } from '../flow/index.ts';
import { type WeightChoice, weightChoices } from '../run/text/match.ts';
import type { TextToImageSummary } from '../run/text/survey.ts';
import type { Prediction } from '../run/text/text_to_image.ts';
import type { Option, Parsed } from './arguments.ts';
import { deviceOptions, note } from './shared.ts';

export const modelOptions: Record<string, Option> = {
  model: {
    value: 'PATH',
    help: 'folder of InstaFlow or Stable Diffusion 1 or 2 as diffusers writes it, or a single .safetensors or .ckpt file',
  },
  variant: { value: 'NAME', help: 'weights of a variant, such as fp16; default: the plain files, or the only variant' },
  tokenizer: {
    value: 'DIR',
    help: 'folder of vocab.json and merges.txt; default: tokenizer in the folder of the model',
  },
  prediction: {
    value: 'KIND',
    help: 'what the network predicts: velocity (InstaFlow; default), or noise (Stable Diffusion)',
  },
};

export const weightsOption: Option = {
  value: 'KIND',
  help: 'weights in memory: files (16 bits where files have 16, the same pictures; default), f32, or rounded to f16 or bf16; on cuda f32',
};

export const changeOptions: Record<string, Option> = {
  tile: { value: 'N', help: 'decode in tiles of N pixels, which needs less memory; default: the whole picture' },
  lora: { value: 'FILE:FACTOR', help: "low-rank changes in kohya's layout; several with commas between them" },
};

export const textDeviceOptions: Record<string, Option> = {
  device: { value: 'NAME', help: 'device to compute on: cpu (default), wasm, cuda or cuda:N' },
  threads: deviceOptions.threads,
  precision: { value: 'NAME', help: 'fp32 (default), or on cuda tf32 or bf16' },
};

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

const predictions = ['velocity', 'noise'] as const;
const precisions = ['fp32', 'tf32', 'bf16'] as const;

/** What the options of a model ask for. @throws UsageError for a single file without a tokenizer */
export function modelOf(parsed: Parsed) {
  const path = parsed.required('model');
  if (isFile(path) && !parsed.has('tokenizer'))
    throw new UsageError(
      `${path} is a single file, which has no tokenizer; add --tokenizer DIR, a folder of vocab.json and merges.txt`,
    );
  return {
    path,
    variant: parsed.text('variant'),
    tokenizer: parsed.text('tokenizer'),
    prediction: parsed.oneOf('prediction', predictions),
  };
}

/** How weights are kept on a device: by default as their files have them, but on a card as f32. @throws UsageError */
export function weightsOf(parsed: Parsed, device: Device): WeightChoice {
  const asked = parsed.oneOf('weights', weightChoices);
  if (device.kind !== 'cuda') return asked ?? 'files';
  if (asked !== undefined && asked !== 'f32')
    throw new UsageError(`--weights ${asked} has no effect on ${device.name}: 16 bits are kept on cpu and wasm only`);
  return 'f32';
}

export function precisionOf(parsed: Parsed): (typeof precisions)[number] {
  return parsed.oneOf('precision', precisions) ?? 'fp32';
}

/** Says what a user must know about the weights before they are used. */
export function noteWeights({ pipeline }: TextToImageSummary, prediction: Prediction | undefined): void {
  note(
    'weights have licences of their own: those of InstaFlow are under CC BY-NC 4.0 (not for commercial use), those of Stable Diffusion under CreativeML Open RAIL-M',
  );
  if (prediction === undefined && pipeline !== undefined && /^StableDiffusion/.test(pipeline))
    note(
      `the folder names ${pipeline}: if its network predicts noise, as that of Stable Diffusion does, add --prediction noise`,
    );
}

/** "512" or "512x768" as height and width. @throws UsageError for anything else */
export function sizeOption(parsed: Parsed): [height: number, width: number] | undefined {
  const text = parsed.text('size');
  if (text === undefined) return undefined;
  const [, height, width = height] = /^(\d{1,5})(?:[x×](\d{1,5}))?$/.exec(text) ?? [];
  if (!(Number(height) > 0 && Number(width) > 0))
    throw new UsageError(`--size expects a height and a width in pixels such as 512 or 512x768, got "${text}"`);
  return [Number(height), Number(width)];
}

/** FILE:FACTOR[,FILE:FACTOR...]; the factor is 1 where it is left out. @throws UsageError */
export function loraOption(parsed: Parsed): { path: string; factor: number }[] {
  const text = parsed.text('lora');
  if (text === undefined) return [];
  return text.split(',').map((part) => {
    const [, path, factor] = /^(.+?)(?::(-?[\d.]+(?:e[+-]?\d+)?))?$/i.exec(part) ?? [];
    const value = factor === undefined ? 1 : Number(factor);
    if (path === undefined || !Number.isFinite(value))
      throw new UsageError(`--lora expects FILE or FILE:FACTOR, with commas between several, got "${text}"`);
    return { path, factor: value };
  });
}

/** The options of a flow from noise to a picture. @throws UsageError for those that have no effect */
export function flowOptions(parsed: Parsed) {
  const sampler = parsed.oneOf('sampler', solverNames) ?? 'euler';
  const [inert, instead] = sampler === 'rk45' ? ['steps', 'tol'] : ['tol', 'steps'];
  if (parsed.has(inert))
    throw new UsageError(
      `--${inert} has no effect with the sampler ${sampler}; give --${instead}, or another --sampler`,
    );
  const guidance = parsed.notNegative('guidance') ?? 0;
  if (parsed.has('negative') && guidance <= 1)
    throw new UsageError('--negative has no effect without a --guidance above 1');
  return {
    sampler,
    steps: sampler === 'rk45' ? undefined : (parsed.whole('steps', 1) ?? 1),
    tolerance: sampler === 'rk45' ? (parsed.positive('tol') ?? 1e-5) : undefined,
    guidance,
    negative: guidance > 1 ? (parsed.text('negative') ?? '') : undefined,
  };
}
