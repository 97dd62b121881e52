// Weights by formula for the networks of golden/instaflow (README.md there), and files with them: a folder of diffusers and a
// single file of CompVis. The goldens were made by diffusers and transformers with the same weights.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ArrayFile, readNpz, writeSafetensors } from '../../src/io/index.ts';
import { AutoencoderKL, CLIPTextModel, type Module, UNet2DCondition } from '../../src/nn/index.ts';
import { outlineInitializer } from '../../src/nn/outline.ts';
import {
  autoencoderOptionsOf,
  type JsonObject,
  textOptionsOf,
  unetOptionsOf,
} from '../../src/run/text/configurations.ts';
import { fileShape } from '../../src/run/text/match.ts';
import { sizeOf } from '../../src/tensor/shape.ts';

export const golden = fileURLToPath(new URL('../golden/instaflow/', import.meta.url));

export const readGolden = (name: string) => readNpz(join(golden, `${name}.npz`));

/** A tensor of full/*_tensors.json. */
export interface ListedTensor {
  name: string;
  shape: number[];
  original_name: string;
  original_shape: number[];
}

export interface TensorList {
  tensors: number;
  parameters: number;
  list: ListedTensor[];
}

export const readJson = <T>(...path: string[]) => JSON.parse(readFileSync(join(golden, ...path), 'utf8')) as T;

/** Numbers in [-1, 1) by the murmur3 finaliser of the index, for a key. */
export function signsOf(key: string, size: number): Float64Array {
  let seed = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(key)) seed = Math.imul(seed ^ byte, 0x01000193);
  const s = new Float64Array(size);
  for (let i = 0; i < size; i++) {
    let h = (Math.imul(i, 0x9e3779b9) + seed) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    s[i] = (2 * ((h ^ (h >>> 16)) >>> 0)) / 2 ** 32 - 1;
  }
  return s;
}

/** The weights of a tensor in PyTorch's layout. */
export function weightsOf(component: string, name: string, shape: readonly number[]): Float32Array {
  const s = signsOf(`${component}/${name}`, sizeOf(shape));
  const norm = (name.split('.').at(-2) ?? '').includes('norm');
  if (name.endsWith('token_embedding.weight')) return Float32Array.from(s, (v) => 0.5 * v);
  if (name.endsWith('position_embedding.weight')) return Float32Array.from(s, (v) => 0.1 * v);
  if (shape.length > 1) {
    const scale = Math.sqrt(3 / sizeOf(shape.slice(1)));
    return Float32Array.from(s, (v) => v * scale);
  }
  if (name.endsWith('bias')) return Float32Array.from(s, (v) => (norm ? 0.1 : 0.05) * v);
  return Float32Array.from(s, (v) => 1 + 0.2 * v);
}

const single = new Float32Array(1);
const pattern = new Uint32Array(single.buffer);

/** f32 to f16, to the nearest, halves to even; without overflow. */
export function toHalf(value: number): number {
  single[0] = value;
  const sign = (pattern[0] >>> 16) & 0x8000;
  const size = pattern[0] & 0x7fffffff;
  // Below the smallest normal number, the spacing is 2^-24.
  if (size < 0x38800000) {
    const steps = Math.abs(single[0]) * 2 ** 24;
    const low = Math.floor(steps);
    const rest = steps - low;
    return sign | (rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low);
  }
  return sign | ((size + 0xfff + ((size >>> 13) & 1) - 0x38000000) >>> 13);
}

function arrayOf(values: Float32Array, shape: readonly number[], half: boolean): ArrayFile {
  return half
    ? { shape: [...shape], dtype: 'f16', data: Uint16Array.from(values, toHalf) }
    : { shape: [...shape], dtype: 'f32', data: values };
}

export const parts = ['unet', 'vae', 'text_encoder'] as const;
type PartName = (typeof parts)[number];

/** The shape that files have, by name. */
export type Shapes = ReadonlyMap<string, readonly number[]>;

/** The networks of configurations, without memory, and the shapes that files have for their tensors. */
export function shapesOf(configs: Record<PartName, JsonObject>) {
  const init = outlineInitializer();
  const networks = {
    unet: new UNet2DCondition(unetOptionsOf(configs.unet, 'unet'), init),
    vae: new AutoencoderKL(autoencoderOptionsOf(configs.vae, 'vae'), init),
    text_encoder: new CLIPTextModel(textOptionsOf(configs.text_encoder, 'text'), init),
  };
  const of = (network: Module) =>
    new Map(Array.from(network.namedTensors(), ([name, t]) => [name, fileShape(t.shape)] as const));
  return {
    networks,
    shapes: { unet: of(networks.unet), vae: of(networks.vae), text_encoder: of(networks.text_encoder) },
  };
}

/** shapesOf golden/instaflow/pipeline. */
export function pipelineShapes() {
  const config = (part: PartName) => readJson<JsonObject>('pipeline', part, 'config.json');
  return shapesOf({ unet: config('unet'), vae: config('vae'), text_encoder: config('text_encoder') });
}

/** Writes the folder of golden/instaflow/pipeline. @param shapes of the three networks, by part */
export async function writePipeline(folder: string, shapes: Record<PartName, Shapes>) {
  mkdirSync(folder, { recursive: true });
  cpSync(join(golden, 'pipeline'), folder, { recursive: true });
  const arraysOf = (part: keyof typeof shapes, names: Iterable<string>, half: boolean) =>
    new Map(
      Array.from(names, (name) => {
        const shape = shapes[part].get(name);
        if (!shape) throw new Error(`no shape of ${name}`);
        return [name, arrayOf(weightsOf(part, name, shape), shape, half)];
      }),
    );
  const index = readJson<{ weight_map: Record<string, string> }>(
    'pipeline',
    'unet',
    'diffusion_pytorch_model.safetensors.index.json',
  );
  for (const shard of new Set(Object.values(index.weight_map))) {
    const names = Object.keys(index.weight_map).filter((name) => index.weight_map[name] === shard);
    await writeSafetensors(join(folder, 'unet', shard), arraysOf('unet', names, true));
  }
  const vae = join(folder, 'vae', 'diffusion_pytorch_model.safetensors');
  await writeSafetensors(vae, arraysOf('vae', shapes.vae.keys(), false));
  const text = join(folder, 'text_encoder', 'model.safetensors');
  await writeSafetensors(text, arraysOf('text_encoder', shapes.text_encoder.keys(), true));
}

const components = { unet: 'original_unet', vae: 'original_vae', text_encoder: 'original_text' } as const;

/** The tensors of golden/instaflow/original: names of CompVis, which the lists of the real networks have. */
export function originalTensors(shapes: Record<PartName, Shapes>): Map<string, ArrayFile> {
  const tensors = new Map<string, ArrayFile>();
  for (const part of parts)
    for (const { name, original_name, original_shape } of readJson<TensorList>('full', `${part}_tensors.json`).list) {
      const shape = shapes[part].get(name);
      // The real text network has more layers.
      if (!shape) continue;
      const own = original_shape.length === 4 && shape.length === 2 ? [...shape, 1, 1] : shape;
      tensors.set(original_name, arrayOf(weightsOf(components[part], name, shape), own, true));
    }
  const positions = BigInt64Array.from({ length: 77 }, (_, i) => BigInt(i));
  tensors.set('cond_stage_model.transformer.text_model.embeddings.position_ids', {
    shape: [1, 77],
    dtype: 'i64',
    data: positions,
  });
  tensors.set('betas', { shape: [1000], dtype: 'f32', data: new Float32Array(1000) });
  return tensors;
}

/** Writes the first tokens of the vocabulary, and the two special ones, as a tokenizer of `size` tokens. */
export function writeTokenizer(folder: string, size: number): void {
  mkdirSync(folder, { recursive: true });
  const all = readJson<Record<string, number>>('pipeline', 'tokenizer', 'vocab.json');
  const kept = Object.keys(all)
    .sort((a, b) => all[a] - all[b])
    .slice(0, size - 2);
  const tokens = [...kept, '<|startoftext|>', '<|endoftext|>'];
  writeFileSync(join(folder, 'vocab.json'), JSON.stringify(Object.fromEntries(tokens.map((token, id) => [token, id]))));
  const merges = readFileSync(join(golden, 'pipeline', 'tokenizer', 'merges.txt'), 'utf8').split('\n');
  writeFileSync(join(folder, 'merges.txt'), merges.slice(0, size - 514 + 1).join('\n'));
}
