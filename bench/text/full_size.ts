// node --import jiti/register bench/text/full_size.ts DIR
// Writes a folder of diffusers with the sizes of InstaFlow and weights by a formula: the network in three shards of f16, 2.1 GB in
// all. Memory and time of pictures do not depend on what the weights are, so the published ones are not needed for either.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonObject } from '../../src/run/text/configurations.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { golden, parts, readJson, shapesOf, toHalf } from '../../test/support/instaflow.ts';

type PartName = (typeof parts)[number];

/** f16 patterns of weights whose products keep the size of what they multiply. */
function halvesOf(name: string, shape: readonly number[]): Uint16Array {
  const halves = new Uint16Array(sizeOf(shape));
  const norm = (name.split('.').at(-2) ?? '').includes('norm');
  const bias = name.endsWith('bias');
  const scale = shape.length > 1 ? Math.sqrt(3 / sizeOf(shape.slice(1))) : bias ? 0.05 : 0.1;
  const middle = norm && !bias ? 1 : 0;
  let state = 0x811c9dc5;
  for (const byte of Buffer.from(name)) state = Math.imul(state ^ byte, 0x01000193);
  for (let i = 0; i < halves.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    halves[i] = toHalf(middle + scale * (state / 2 ** 31));
  }
  return halves;
}

async function writeShard(path: string, shapes: ReadonlyMap<string, readonly number[]>): Promise<void> {
  let end = 0;
  const entries = Array.from(shapes, ([name, shape]) => {
    const begin = end;
    end += 2 * sizeOf(shape);
    return [name, { dtype: 'F16', shape, data_offsets: [begin, end] }] as const;
  });
  const text = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  header.write(text, 8);
  const file = await open(path, 'w');
  try {
    await file.writeFile(header);
    for (const [name, shape] of shapes) await file.writeFile(new Uint8Array(halvesOf(name, shape).buffer));
  } finally {
    await file.close();
  }
}

/** Tensors in `count` files of about the same size. */
function shardsOf(shapes: ReadonlyMap<string, readonly number[]>, count: number) {
  const all = [...shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
  const shards = Array.from({ length: count }, () => new Map<string, readonly number[]>());
  let before = 0;
  for (const [name, shape] of shapes) {
    shards[Math.min(count - 1, Math.floor((count * before) / all))].set(name, shape);
    before += sizeOf(shape);
  }
  return shards;
}

/** Writes the folder. The tokenizer is that of the test's small model, whose words are known to the larger one too. */
export async function writeFullSizeModel(folder: string): Promise<void> {
  const config = (part: PartName) => readJson<JsonObject>('full', `${part}_config.json`);
  const { shapes } = shapesOf({ unet: config('unet'), vae: config('vae'), text_encoder: config('text_encoder') });
  for (const entry of ['model_index.json', 'tokenizer', 'scheduler'])
    cpSync(join(golden, 'pipeline', entry), join(folder, entry), { recursive: true });
  for (const part of parts) {
    mkdirSync(join(folder, part), { recursive: true });
    cpSync(join(golden, 'full', `${part}_config.json`), join(folder, part, 'config.json'));
  }
  const family = 'diffusion_pytorch_model';
  await writeShard(join(folder, 'vae', `${family}.safetensors`), shapes.vae);
  await writeShard(join(folder, 'text_encoder', 'model.safetensors'), shapes.text_encoder);
  const shards = shardsOf(shapes.unet, 3);
  const map: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = `${family}-0000${i + 1}-of-0000${shards.length}.safetensors`;
    for (const name of shard.keys()) map[name] = file;
    await writeShard(join(folder, 'unet', file), shard);
  }
  const bytes = [...shapes.unet.values()].reduce((sum, shape) => sum + 2 * sizeOf(shape), 0);
  const index = { metadata: { total_size: bytes }, weight_map: map };
  writeFileSync(join(folder, 'unet', `${family}.safetensors.index.json`), JSON.stringify(index));
}

const [, script, folder] = process.argv;
if (script.endsWith('full_size.ts')) {
  if (folder === undefined || folder.startsWith('-')) {
    console.error('usage: node --import jiti/register bench/text/full_size.ts DIR');
    process.exit(2);
  }
  await writeFullSizeModel(folder);
}
