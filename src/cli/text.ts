// The command `text`: makes pictures of texts with InstaFlow or Stable Diffusion.
import { FileError, formatShape, UsageError } from '../errors.ts';
import { solverNames } from '../flow/index.ts';
import { isFloatingArray } from '../io/array.ts';
import { readNpy, toFloat32 } from '../io/index.ts';
import { megabytes } from '../run/machine/resources.ts';
import { requirePictureMemory } from '../run/text/costs.ts';
import { loadTextToImage } from '../run/text/load.ts';
import type { WeightChoice } from '../run/text/match.ts';
import { type PictureRecord, recordFile } from '../run/text/record.ts';
import type { TextToImageSummary } from '../run/text/survey.ts';
import type { TextToImage } from '../run/text/text_to_image.ts';
import { escapeText } from '../text.ts';
import type { Command, Parsed } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { startProgress } from './progress.ts';
import { checkDevice, deviceOf, note } from './shared.ts';
import {
  changeOptions,
  flowOptions,
  loraOption,
  modelOf,
  modelOptions,
  noteWeights,
  precisionOf,
  sizeOption,
  textDeviceOptions,
  weightsOf,
  weightsOption,
} from './text_model.ts';
import { pictureWriter, requirePicturesWritable } from './text_output.ts';
import { textProgress } from './text_progress.ts';

export const textCommand: Command = {
  name: 'text',
  operands: ['PROMPT...'],
  details: 'Weights are not part of this package; docs/text-to-image.md says which there are, and their licences.',
  overrides: 'none',
  options: {
    model: { ...modelOptions.model, required: true },
    out: {
      value: 'FILE',
      help: 'X.png: a picture, or a grid of all; DIR/: a PNG for each picture; X.npz: samples u8 [N, H, W, C]',
      required: true,
    },
    negative: { value: 'TEXT', help: 'what pictures shall not show, with a guidance above 1; default: an empty text' },
    steps: { value: 'N', help: 'steps from noise to picture; default 1' },
    sampler: { value: 'NAME', help: `${solverNames.join(' | ')}; default euler` },
    tol: { value: 'T', help: 'tolerance of rk45; default 1e-5' },
    guidance: { value: 'G', help: 'scale of the guidance, which doubles the work; default 0; none up to 1' },
    seed: { value: 'S', help: 'seed of the noise; default 0' },
    noise: { value: 'KIND', help: "torch: PyTorch's noise for the seed, as in Python (default); own: of this program" },
    latents: {
      value: 'FILE',
      help: 'z0.npy: f32, f64 or f16 [N, 4, H/8, W/8], one for each picture, in place of noise',
    },
    count: { value: 'N', help: 'pictures of each prompt; default 1' },
    size: { value: 'HxW', help: 'pixels, multiples of 8; one number for a square; default 512' },
    columns: { value: 'N', help: 'pictures in a row of the grid; default: the root of their number' },
    tile: changeOptions.tile,
    lora: changeOptions.lora,
    variant: modelOptions.variant,
    tokenizer: modelOptions.tokenizer,
    prediction: modelOptions.prediction,
    weights: weightsOption,
    ...textDeviceOptions,
  },
  async run(parsed) {
    const prompts = parsed.operands;
    if (prompts.length === 0) throw new UsageError('give a prompt: rectiflow text --model DIR "a cat" --out cat.png');
    const model = modelOf(parsed);
    const out = parsed.required('out');
    const write = pictureWriter(out, parsed.whole('columns', 1));
    const flow = flowOptions(parsed);
    const count = parsed.whole('count', 1) ?? 1;
    const size = sizeOption(parsed);
    const tile = parsed.whole('tile', 1);
    const lora = loraOption(parsed);
    const noise = noiseOf(parsed);
    const precision = precisionOf(parsed);
    checkDevice(parsed);
    await requirePicturesWritable(out);
    const latents = noise.path === undefined ? undefined : await readLatentFile(noise.path);
    const device = await deviceOf(parsed, { device: 'cpu', precision, exact: false });
    const weights = weightsOf(parsed, device);

    await runInterruptible(async (signal) => {
      const start = performance.now();
      let summary: TextToImageSummary | undefined;
      let request: { size: [number, number]; tile?: number } | undefined;
      let progress = startProgress('load', 1);
      let bytes = 0;
      const loaded = await loadTextToImage(model.path, {
        device,
        variant: model.variant,
        tokenizer: model.tokenizer,
        prediction: model.prediction,
        weights,
        encoder: false,
        onNotice: note,
        onFound(found) {
          summary = found;
          request = requestOf(found, { size, tile, pictures: prompts.length * count, latents, path: noise.path });
          requirePictureMemory(
            found,
            {
              ...request,
              tile: request.tile && request.tile / found.factor,
              guidance: flow.guidance,
              count: prompts.length * count,
              last: true,
            },
            device,
          );
          noteWeights(found, model.prediction);
          progress = startProgress('load', Math.ceil(found.loadedBytes / 1e6));
        },
        onProgress({ part, bytes: read }) {
          bytes += read;
          progress.update(Math.ceil(bytes / 1e6), `MB  ${part}`);
          signal.throwIfAborted();
        },
      }).finally(() => progress.stop());
      using network = loaded;
      const found = summary as TextToImageSummary;
      const asked = request as NonNullable<typeof request>;
      for (const { path, factor } of lora) note(`${await network.addLora(path, factor)} weights changed by ${path}`);
      const loading = (performance.now() - start) / 1000;
      const record = await recordOf(parsed, network, found, {
        ...flow,
        ...asked,
        prompts,
        count,
        lora,
        noise,
        weights,
      });
      const display = textProgress(found, { ...flow, ...asked, count: prompts.length * count });
      const pictures = await network
        .generate({
          prompt: prompts,
          count,
          size: asked.size,
          tile: asked.tile && asked.tile / found.factor,
          sampler: flow.sampler,
          steps: flow.steps,
          tolerance: flow.tolerance,
          guidance: flow.guidance,
          negative: flow.negative,
          ...(latents ? { latents: latents.data } : { seed: noise.seed, noise: noise.kind }),
          last: true,
          signal,
          onProgress: display.update,
        })
        .finally(() => display.stop());
      for (const text of pictures.notes) note(text);
      await write(pictures, record);
      report(pictures, { loading, out, cuda: device.kind === 'cuda' ? device.memory().highWater : undefined });
    });
    return 0;
  },
};

interface Noise {
  seed?: number;
  kind?: 'torch' | 'own';
  path?: string;
}

/** The noise that the options ask for. @throws UsageError */
function noiseOf(parsed: Parsed): Noise {
  const path = parsed.text('latents');
  const kind = parsed.oneOf('noise', ['torch', 'own'] as const);
  const seed = parsed.whole('seed', 0, Number.MAX_SAFE_INTEGER);
  if (path === undefined) return { seed: seed ?? 0, kind: kind ?? 'torch' };
  for (const name of ['seed', 'noise'])
    if (parsed.has(name)) throw new UsageError(`--${name} has no effect with --latents: no noise is drawn`);
  return { path };
}

interface Latents {
  shape: readonly number[];
  data: Float32Array;
}

/** Reads latents [N, C, h, w]. @throws FileError for integers, another rank, or numbers that are not finite in f32 */
async function readLatentFile(path: string): Promise<Latents> {
  const array = await readNpy(path);
  const { shape, dtype } = array;
  if (shape.length !== 4 || !isFloatingArray(dtype))
    throw new FileError(path, `expected latents f16, f32 or f64 [N, 4, H/8, W/8], got ${dtype} ${formatShape(shape)}`);
  const data = toFloat32(array);
  const at = data.findIndex((value) => !Number.isFinite(value));
  if (at >= 0)
    throw new FileError(path, `latent ${Math.floor((at * shape[0]) / data.length)} holds ${data[at]} as f32`);
  return { shape, data };
}

/** The size of pictures and tiles for a model. @throws UsageError, FileError for sizes that it does not have */
function requestOf(
  { factor, networks }: TextToImageSummary,
  asked: { size?: [number, number]; tile?: number; pictures: number; latents?: Latents; path?: string },
): { size: [number, number]; tile?: number } {
  const { latents, path, tile, pictures } = asked;
  const channels = networks.vae.latentChannels;
  const own = latents && ([latents.shape[2] * factor, latents.shape[3] * factor] as [number, number]);
  const size = asked.size ?? own ?? [64 * factor, 64 * factor];
  if (size.some((edge) => edge % factor !== 0))
    throw new UsageError(`--size expects multiples of ${factor} pixels, got ${size[0]} x ${size[1]}`);
  if (tile !== undefined && (tile % factor !== 0 || tile < 8 * factor))
    throw new UsageError(`--tile expects a multiple of ${factor} pixels, at least ${8 * factor}, got ${tile}`);
  const expected = [pictures, channels, size[0] / factor, size[1] / factor];
  if (latents && formatShape(latents.shape) !== formatShape(expected))
    throw new FileError(
      path as string,
      `expected latents ${formatShape(expected)}, one for each picture, got ${formatShape(latents.shape)}`,
    );
  return { size, tile };
}

/** What a picture says about how it was made. */
async function recordOf(
  parsed: Parsed,
  { prediction, device }: TextToImage,
  { parts, path }: TextToImageSummary,
  asked: ReturnType<typeof flowOptions> & {
    size: [number, number];
    tile?: number;
    prompts: readonly string[];
    count: number;
    lora: readonly { path: string; factor: number }[];
    noise: Noise;
    weights: WeightChoice;
  },
): Promise<PictureRecord> {
  const { noise, lora, weights, ...rest } = asked;
  const files = [...new Set(parts.flatMap((part) => part.files))];
  const changes = await Promise.all(lora.map(async (one) => ({ ...(await recordFile(one.path)), factor: one.factor })));
  return {
    model: await recordFile(path, files),
    prediction,
    ...(changes.length > 0 && { lora: changes }),
    ...rest,
    // Others have the bits of f32.
    ...((weights === 'f16' || weights === 'bf16') && { weights }),
    ...(noise.path === undefined ? { seed: noise.seed, noise: noise.kind } : { latents: await recordFile(noise.path) }),
    device: device.name,
    precision: precisionOf(parsed),
  };
}

function report(
  { shape, nfe, seconds }: Awaited<ReturnType<TextToImage['generate']>>,
  { loading, out, cuda }: { loading: number; out: string; cuda?: number },
): void {
  const [count] = shape;
  const { text, network, decoding } = seconds;
  const parts = Object.entries({ loading, text, network, decoding }).map(
    ([name, value]) => `${name} ${value < 10 ? value.toFixed(2) : value.toFixed(1)} s`,
  );
  const peak = megabytes(1024 * process.resourceUsage().maxRSS);
  const card = cuda === undefined ? '' : `, ${megabytes(cuda)} on the card`;
  process.stdout.write(
    `NFE ${Number(nfe.toFixed(2))}  ${parts.join('  ')}  peak memory ${peak}${card}\n` +
      `${count} ${count === 1 ? 'picture' : 'pictures'} in ${escapeText(out)}\n`,
  );
}
