// `rectiflow text` on the small model of golden/instaflow: its pictures are those of diffusers, a picture says how it was made and is
// made again by that, and bad input ends in one error before anything is written.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArrayFile, readNpz, readPng, toFloat32, writeNpy, writeSafetensors } from '../../src/io/index.ts';
import { textsOf } from '../../src/io/png_texts.ts';
import type { PictureRecord } from '../../src/run/text/record.ts';
import { type Outcome, runLine } from '../support/command_line.ts';
import { golden, pipelineShapes, readGolden, readJson, writePipeline } from '../support/instaflow.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-text-command-'));
const at = (name: string) => join(folder, name);
const model = at('model');
const { prompts } = readJson<{ prompts: string[] }>('tokens.json');
const quoted = (text: string) => `'${text}'`;
const line = `text --model ${model} --size 128`;
let images: ReadonlyMap<string, ArrayFile>;
let latents0: Float32Array;

beforeAll(async () => {
  await writePipeline(model, pipelineShapes().shapes);
  images = await readGolden('images');
  latents0 = toFloat32((await readGolden('sampling')).get('latents0') as ArrayFile);
  await writeNpy(at('z0.npy'), { shape: [2, 4, 16, 16], dtype: 'f32', data: latents0 });
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bytesOf = (name: string) => (images.get(name) as ArrayFile).data as Uint8Array;

async function made(words: string): Promise<Outcome> {
  const outcome = await runLine(words);
  expect(outcome.error).toBe('');
  return outcome;
}

/** At most 1 off, in at most 0.1 % of the values. */
function expectSameBytes(a: Uint8Array, b: Uint8Array): void {
  expect(a.length).toBe(b.length);
  const off = a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
  expect(off).toBeLessThanOrEqual(1);
  expect(a.filter((value, i) => value !== b[i]).length).toBeLessThanOrEqual(0.001 * a.length);
}

describe('pictures of diffusers', () => {
  const [first, , third] = prompts;

  it('for a seed in one step', async () => {
    const { stdout, stderr } = await made(`${line} ${quoted(first)} --count 2 --seed 0 --out ${at('one.npz')}`);
    expect(stdout).toMatch(
      /^NFE 1 {2}loading [\d.]+ s {2}text [\d.]+ s {2}network [\d.]+ s {2}decoding [\d.]+ s {2}peak memory \d+ MB\n2 pictures in .*one\.npz\n$/,
    );
    expect(stderr).toMatch(/^note: weights have .*CC BY-NC 4\.0.*Open RAIL-M$/m);
    expect(stderr).toMatch(/^load 1\/7 {2}MB {2}text_encoder$/m);
    expect(stderr).toMatch(/^load 7\/7 {2}MB {2}vae$/m);
    expect(stderr).toMatch(/^pictures % 100\/100 {2}picture 2 of 2 {2}decoded$/m);
    const samples = (await readNpz(at('one.npz'))).get('samples') as ArrayFile;
    expect([samples.dtype, samples.shape]).toEqual(['u8', [2, 128, 128, 3]]);
    const expected = bytesOf('one_step');
    const each = expected.length / 2;
    expectSameBytes((samples.data as Uint8Array).subarray(0, each), expected.subarray(0, each));
  }, 60_000);

  it('from latents in four steps with guidance and a negative text', async () => {
    await writeNpy(at('first.npy'), { shape: [1, 4, 16, 16], dtype: 'f32', data: latents0.slice(0, 1024) });
    const asked = `--steps 4 --guidance 1.5 --negative ${quoted(third)} --latents ${at('first.npy')}`;
    const { stdout } = await made(`${line} ${quoted(first)} ${asked} --out ${at('four.npz')}`);
    expect(stdout).toMatch(/^NFE 4 /);
    const samples = (await readNpz(at('four.npz'))).get('samples')?.data as Uint8Array;
    expectSameBytes(samples, bytesOf('four_steps_cfg_1_5').subarray(0, samples.length));
  }, 60_000);
});

describe('files', () => {
  const read = (path: string) => textsOf(readFileSync(path));
  const recordIn = (path: string) => JSON.parse(read(path).rectiflow) as PictureRecord & { picture?: number };

  it('of one picture say how it was made, and it is made again by that', async () => {
    const prompt = 'a cät, “quoted” 漢字';
    const words = `${line} ${quoted(prompt)} --steps 2 --sampler heun --guidance 1.2 --negative dark --seed 7 --noise own`;
    await made(
      `${words} --tile 64 --lora ${join(golden, 'lora.safetensors')}:0.8 --prediction velocity --out ${at('a.png')}`,
    );
    // As libpng reads it.
    const { comments } = await sharp(at('a.png')).metadata();
    expect(comments).toContainEqual({ keyword: 'Description', text: prompt });
    expect(read(at('a.png'))).toMatchObject({ Software: expect.stringMatching(/^rectiflow \d/), Description: prompt });
    const record = recordIn(at('a.png'));
    expect(record).toMatchObject({
      model: { name: 'model', fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/) },
      lora: [{ name: 'lora.safetensors', factor: 0.8 }],
      prompts: [prompt],
      count: 1,
      size: [128, 128],
      picture: 0,
      device: 'cpu',
      precision: 'fp32',
    });
    const { steps, sampler, guidance, negative, seed, noise, tile, prediction, size, lora = [] } = record;
    const options = { steps, sampler, guidance, negative, seed, noise, tile, prediction, size: size.join('x') };
    const again = Object.entries(options).map(([name, value]) => `--${name} ${value}`);
    const changes = lora.map(({ name, factor }) => `${join(golden, name)}:${factor}`).join(',');
    await made(
      `text --model ${model} ${quoted(record.prompts[0])} ${again.join(' ')} --lora ${changes} --out ${at('b.png')}`,
    );
    expect(readFileSync(at('b.png')).equals(readFileSync(at('a.png')))).toBe(true);
    for (const other of ['--seed 8', `--lora ${join(golden, 'lora.safetensors')}:0.1`]) {
      await made(
        `${words.replace('--seed 7', '')} ${other} ${other.includes('seed') ? '' : '--seed 7'} --out ${at('c.png')}`,
      );
      expect((await readPng(at('c.png'))).data).not.toEqual((await readPng(at('a.png'))).data);
    }
  }, 60_000);

  it('a grid, numbered files, and samples hold the same pictures', async () => {
    const words = `${line} 'a cat' 'a dog' --count 2 --seed 5`;
    await made(`${words} --columns 4 --out ${at('grid.png')}`);
    await made(`${words} --out ${at('many')}/`);
    await made(`${words} --out ${at('many.npz')}`);
    const names = readdirSync(at('many'));
    expect(names).toEqual(['00000.png', '00001.png', '00002.png', '00003.png']);
    const samples = (await readNpz(at('many.npz'))).get('samples')?.data as Uint8Array;
    const grid = await readPng(at('grid.png'));
    expect([grid.width, grid.height]).toEqual([4 * 130 + 2, 132]);
    for (const [i, name] of names.entries()) {
      const { data } = await readPng(join(at('many'), name));
      expect(Buffer.from(data).equals(samples.subarray(i * data.length, (i + 1) * data.length))).toBe(true);
      const row = grid.data.subarray((2 * grid.width + 2 + 130 * i) * 3).subarray(0, 3 * 128);
      expect(Buffer.from(row).equals(data.subarray(0, 3 * 128))).toBe(true);
      expect(recordIn(join(at('many'), name)).picture).toBe(i);
      expect(read(join(at('many'), name)).Description).toBe(i < 2 ? 'a cat' : 'a dog');
    }
    expect(recordIn(at('grid.png')).picture).toBeUndefined();
    expect((await runLine(`${words} --out ${at('many')}/`)).error).toMatch(/holds images already, such as 00000\.png/);
  }, 60_000);
});

describe('notes', () => {
  it('a prompt that is cut, and guidance in one step', async () => {
    const { stderr } = await made(`${line} '${'x '.repeat(100)}' --guidance 2 --out ${at('notes.png')}`);
    expect(stderr).toMatch(/^note: The text network reads 75 tokens: the last 25 of "x x .*" are left out\.$/m);
    expect(stderr).toMatch(/^note: A model distilled to one step/m);
  });

  it('a folder of Stable Diffusion without --prediction', async () => {
    cpSync(model, at('sd'), { recursive: true });
    const index = join(at('sd'), 'model_index.json');
    const values = JSON.parse(readFileSync(index, 'utf8'));
    writeFileSync(index, JSON.stringify({ ...values, _class_name: 'StableDiffusionPipeline' }));
    const words = `text --model ${at('sd')} x --size 128 --out ${at('sd.png')}`;
    expect((await made(words)).stderr).toMatch(/add --prediction noise/);
    expect((await made(`${words} --prediction noise --steps 2`)).stderr).not.toMatch(/add --prediction/);
  });
});

describe('before the work', () => {
  it('inspect lists the parts of a model, and says how a picture was made', async () => {
    const { stdout } = await made(`inspect ${model}`);
    expect(stdout).toMatch(
      /^.*model: RectifiedFlowPipeline\nunet +\d+ tensors +2,491,844 parameters +f16 +5 MB +unet\/diff/,
    );
    expect(stdout).toMatch(/^vae +\d+ tensors .* f32 .* vae\/diffusion_pytorch_model\.safetensors$/m);
    const whole = JSON.parse((await made(`inspect ${model} --json`)).stdout);
    expect(whole).toMatchObject({
      factor: 8,
      parts: [{ name: 'unet', dtypes: ['f16'], bytes: 2 * 2_491_844 }, {}, {}],
    });
    await made(`${line} 'a cat' --seed 9 --out ${at('inspected.png')}`);
    expect((await made(`inspect ${at('inspected.png')}`)).stdout).toMatch(/^prompts: \["a cat"\]$(?:.*\n)*seed: 9$/m);
    expect((await runLine(`inspect ${at('none.png')}`)).error).toMatch(/no such file/);
  });

  it('estimate gives seconds and bytes, the time in proportion to the work', async () => {
    const { stdout } = await made(`estimate --model ${model} --size 128`);
    expect(stdout).toMatch(/^part +time +range +memory\nloading .*\ntext .*\nnetwork .*\ndecoding .*\ntotal .*\n/);
    expect(stdout).toMatch(/million parameters, \d+ MB in files, \d+ MB in memory$/m);
    expect((await runLine('estimate')).error).toMatch(/give --config NAME for a chain, or --model DIR/);
    expect((await runLine(`estimate --model ${at('none')}`)).error).toMatch(/no such file or folder|none/);
  }, 60_000);
});

it.each(['estimate', 'chain --workdir W', 'chain --dry-run --workdir W'])(
  '%s has no flow of latents',
  async (words) => {
    const workdir = at('chain');
    const asked = `${words.replace('W', workdir)} --config latents --config.model.folder ${model}`;
    const { error, stdout, stderr, status } = await runLine(asked);
    expect(error).toMatch(
      /^model\.name: expected ncsnpp or unet2d_condition for a chain.* got stable_diffusion, which `reflow`/,
    );
    expect([stdout, stderr, status, existsSync(workdir)]).toEqual(['', '', 2, false]);
  },
);

describe('bad input ends in one error, and nothing is written', () => {
  const cases: [what: string, words: string | (() => string | Promise<string>), says: RegExp][] = [
    ['no prompt', line, /^give a prompt/],
    ['no model', 'text x', /^--model and --out are required$/],
    ['no such folder', `text --model ${at('none')} x`, /none: no such file or folder/],
    ['a folder of something else', () => `text --model ${empty()} x`, /model_index\.json: no such file/],
    ['a part that is missing', () => `text --model ${without('vae')} x`, /vae: is missing/],
    ['a shard that is cut off', () => `text --model ${truncated()} x`, /truncated/],
    [
      'Stable Diffusion XL',
      () => `text --model ${edited({ _class_name: 'XL', text_encoder_2: ['a', 'b'] })} x`,
      /is XL with the part "text_encoder_2"/,
    ],
    [
      'FLUX',
      () => `text --model ${edited({ _class_name: 'FluxPipeline', transformer: ['a', 'b'] })} x`,
      /is FluxPipeline with the part "transformer"/,
    ],
    ['a v-prediction', () => `text --model ${scheduler('v_prediction')} x`, /has prediction_type "v_prediction"/],
    [
      'a single file without a tokenizer',
      () => `text --model ${single()} x`,
      /is a single file, which has no tokenizer; add --tokenizer DIR/,
    ],
    [
      'a single file of another kind',
      () => `text --model ${single()} --tokenizer ${model}/tokenizer x`,
      /is not a whole model/,
    ],
    ['a variant that it lacks', `${line} x --variant fp16`, /has no weights of the variant "fp16"/],
    [
      'a size of no multiple',
      `${line.replace('128', '100x131')} x`,
      /^--size expects multiples of 8 pixels, got 100 x 131$/,
    ],
    ['a size in words', `${line.replace('128', 'large')} x`, /^--size expects a height and a width/],
    ['a size of nothing', `${line.replace('128', '0')} x`, /^--size expects a height and a width/],
    [
      'a size beyond memory',
      `${line.replace('128', '40000')} x`,
      /its weights take .*, and with pictures of 40000 x 40000 pixels the peak is .*; cpu has .*; tiles/,
    ],
    [
      'latents of another shape',
      `${line} x --latents ${at('z0.npy')}`,
      /z0\.npy: expected latents \[1, 4, 16, 16\], one for each picture, got \[2, 4, 16, 16\]/,
    ],
    [
      'latents of integers',
      async () => `${line} x --latents ${await latentsOf('i32')}`,
      /expected latents f16, f32 or f64/,
    ],
    [
      'latents that are not finite',
      async () => `${line} x --latents ${await latentsOf('f32')}`,
      /latent 0 holds NaN as f32/,
    ],
    ['latents and a seed', `${line} x y --latents ${at('z0.npy')} --seed 1`, /^--seed has no effect with --latents/],
    [
      'a negative text without guidance',
      `${line} x --negative y`,
      /^--negative has no effect without a --guidance above 1$/,
    ],
    ['steps of rk45', `${line} x --sampler rk45 --steps 3`, /^--steps has no effect with the sampler rk45/],
    [
      'low-rank changes of another model',
      async () => `${line} x --lora ${await otherLora()}`,
      /does not fit the networks of this model/,
    ],
    ['a tile of no multiple', `${line} x --tile 70`, /^--tile expects a multiple of 8 pixels, at least 64, got 70$/],
    ['a precision of cards', `${line} x --precision bf16`, /precision bf16 needs the device cuda/],
  ];
  it.each(cases)('%s', async (_, words, says) => {
    const out = at('bad.png');
    const { error, stdout, status } = await runLine(
      `${typeof words === 'string' ? words : await words()} ${words === 'text x' ? '' : `--out ${out}`}`,
    );
    expect(error).toMatch(says);
    expect(error.split('\n').length).toBeLessThan(12);
    expect([stdout, status > 0, existsSync(out)]).toEqual(['', true, false]);
  });

  it('pictures beyond memory, before weights are read', async () => {
    const { error, stderr } = await runLine(`${line} x --count 2000000000 --out ${at('bad.png')}`);
    expect(error).toMatch(
      /with 2000000000 pictures of 128 x 128 pixels .* fewer pictures, or a smaller size, needs less/,
    );
    expect(stderr).toBe('');
  });

  it.each([
    ['an ending that it does not write', 'x.jpg', /^--out expects a file name ending in \.png or \.npz/],
    ['a folder that is missing', 'none/x.png', /no such file or folder/],
  ])('%s, before the model is read', async (_, out, says) => {
    const { error, stderr } = await runLine(`text --model ${at('none')} x --out ${at(out)}`);
    expect(error).toMatch(says);
    expect(stderr).toBe('');
  });

  let copies = 0;
  function copied(change: (folder: string) => void): string {
    const copy = at(`copy-${copies++}`);
    cpSync(model, copy, { recursive: true });
    change(copy);
    return copy;
  }
  function empty(): string {
    mkdirSync(at('empty'));
    return at('empty');
  }
  const without = (part: string) => copied((copy) => rmSync(join(copy, part), { recursive: true }));
  const truncated = () =>
    copied((copy) => {
      const name = readdirSync(join(copy, 'unet')).find((file) => file.endsWith('.safetensors')) as string;
      truncateSync(join(copy, 'unet', name), 5000);
    });
  const rewritten = (file: string, values: object) =>
    copied((copy) => {
      const path = join(copy, file);
      writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), ...values }));
    });
  const edited = (values: object) => rewritten('model_index.json', values);
  const scheduler = (type: string) => rewritten('scheduler/scheduler_config.json', { prediction_type: type });
  function single(): string {
    writeFileSync(at('v1.safetensors'), readFileSync(join(golden, 'lora.safetensors')));
    return at('v1.safetensors');
  }
  async function latentsOf(dtype: 'i32' | 'f32'): Promise<string> {
    const data = dtype === 'i32' ? new Int32Array(1024) : new Float32Array(1024).fill(Number.NaN);
    await writeNpy(at(`${dtype}.npy`), { shape: [1, 4, 16, 16], dtype, data });
    return at(`${dtype}.npy`);
  }
  async function otherLora(): Promise<string> {
    const tensor = { shape: [1, 2], dtype: 'f32' as const, data: new Float32Array(2) };
    await writeSafetensors(at('other.safetensors'), { 'lora_unet_other.lora_down.weight': tensor });
    return at('other.safetensors');
  }
});

it('Ctrl-C ends it at once, and nothing is written', async () => {
  const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
  const words = ['text', '--model', model, 'a cat', '--size', '256', '--steps', '100000', '--out', at('stopped.png')];
  const child = spawn(process.execPath, [bin, ...words]);
  let said = '';
  const started = new Promise<void>((resolve) => {
    child.stderr.on('data', (text) => {
      said += text;
      if (/^pictures % /m.test(said)) resolve();
    });
  });
  const ended = once(child, 'close') as Promise<[number | null]>;
  await Promise.race([started, ended]);
  child.kill('SIGINT');
  const [code] = await ended;
  expect(said).toContain('rectiflow: stopped');
  expect(code).toBe(130);
  expect(readdirSync(folder).filter((name) => name.includes('stopped'))).toEqual([]);
}, 60_000);
