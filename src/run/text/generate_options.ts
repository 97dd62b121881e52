// What `TextToImage.generate` is asked for, checked and completed.
import { checkOptions, either, kind, kinds, listOf, type OptionKinds, oneOf, refuseInert } from '../../arguments.ts';
import { channelsLast } from '../../data/layout.ts';
import type { Device } from '../../device/device.ts';
import { formatShape, ShapeError, ValueError } from '../../errors.ts';
import { initialNoise, type SolverName, solverNames } from '../../flow/sample.ts';
import { scope } from '../../tensor/scope.ts';
import { requirePictureBytes } from './costs.ts';
import type { TextToImage } from './text_to_image.ts';
import { torchRandn } from './torch_noise.ts';

export interface TextToImageProgress {
  stage: 'text' | 'network' | 'decoding';
  /** Number of the first picture that this is about, of `count`. */
  first: number;
  count: number;
  /** How far the stage is, of `of`. */
  done: number;
  of: number;
}

export interface TextToImageOptions {
  /** One text, or several. */
  prompt: string | readonly string[];
  /** What pictures shall not show, for all texts or one for each; default ''. It counts with a guidance above 1. */
  negative?: string | readonly string[];
  /** Steps from noise to picture; default 1. */
  steps?: number;
  /** Default 'euler'. */
  sampler?: SolverName;
  /** Tolerance of 'rk45'; default 1e-5. */
  tolerance?: number;
  /** Scale of the guidance; at most 1 (default 0): none. */
  guidance?: number;
  /** Default 0. */
  seed?: number;
  /** 'torch' (default): the noise of PyTorch on the CPU for this seed, one draw for all pictures. 'own': that of this package. */
  noise?: 'torch' | 'own';
  /** Noise of its own, [N, C, h, w] as in PyTorch, one for each picture; in place of `seed` and `noise`. */
  latents?: Float32Array;
  /** Pictures of each prompt; default 1. */
  count?: number;
  /** Edge of a picture, or [height, width], multiples of 8; default 512. */
  size?: number | readonly [height: number, width: number];
  /** Pictures that pass through the network at once; default 1. */
  batch?: number;
  /** Edge of a tile in latents when decoding, for large pictures; default: the whole picture at once. */
  tile?: number;
  /**
   * Whether this is the model's last call: each network is freed when its part is done, which lowers the peak of memory, and the model
   * cannot be used afterwards. Default false.
   */
  last?: boolean;
  /** Called when a text is read, after each step, and before and after each picture is decoded. */
  onProgress?: (progress: TextToImageProgress) => void;
  signal?: AbortSignal;
}

const texts = listOf(kinds.text, 'texts');

const generateOptions: OptionKinds<TextToImageOptions> = {
  prompt: either(kinds.text, texts),
  negative: either(kinds.text, texts),
  steps: kinds.count,
  sampler: oneOf(solverNames),
  tolerance: kinds.positive,
  guidance: kinds.finite,
  seed: kinds.whole,
  noise: oneOf(['torch', 'own']),
  latents: kinds.float32,
  count: kinds.count,
  size: kind('a number of pixels, or [height, width]', (v) => kinds.count.accepts(v) || pair.accepts(v)),
  batch: kinds.count,
  tile: kinds.count,
  last: kinds.boolean,
  onProgress: kinds.callback,
  signal: kinds.signal,
};

const pair = listOf(kinds.count, 'numbers of pixels', 2);

/** The request with all that follows from it. */
export interface PicturePlan {
  /** One for each group of `perPrompt` pictures. */
  prompts: readonly string[];
  negatives: readonly string[];
  perPrompt: number;
  /** All pictures. */
  count: number;
  height: number;
  width: number;
  /** [h, w, C] */
  latentShape: readonly [height: number, width: number, channels: number];
  steps: number;
  sampler: SolverName;
  tolerance?: number;
  guidance: number;
  batch: number;
  tile?: number;
  last: boolean;
  notes: string[];
  /** The starts of pictures from, from + 1, ... as [n, h, w, C]. */
  noise(device: Device): (from: number, n: number) => Float32Array;
  onProgress?: TextToImageOptions['onProgress'];
  signal?: AbortSignal;
}

/** @throws ArgumentError, ValueError, ShapeError for what cannot be made */
export function planOf(options: TextToImageOptions, model: TextToImage): PicturePlan {
  const op = 'generate';
  const checked = checkOptions(op, options, generateOptions, ['prompt']);
  const { prompt, negative = '', steps = 1, sampler = 'euler', guidance = 0, count: perPrompt = 1 } = checked;
  const {
    size = model.defaultSize,
    batch = 1,
    latents,
    seed = 0,
    noise = 'torch',
    tolerance,
    tile,
    last = false,
  } = checked;
  if (latents) refuseInert(op, checked, ['seed', 'noise'], 'with latents, which are the noise');
  if (sampler === 'rk45') refuseInert(op, checked, ['steps'], 'with the sampler "rk45", which chooses its own');
  else refuseInert(op, checked, ['tolerance'], `with the sampler "${sampler}", whose steps are equal`);
  const prompts = typeof prompt === 'string' ? [prompt] : [...prompt];
  if (prompts.length === 0) throw new ValueError(`[${op}] expected at least one prompt, got none`);
  const negatives = typeof negative === 'string' ? prompts.map(() => negative) : [...negative];
  if (negatives.length !== prompts.length)
    throw new ValueError(`[${op}] expected a negative text, or ${prompts.length}, got ${negatives.length}`);
  const [height, width] = typeof size === 'number' ? [size, size] : size;
  const { factor } = model.vae;
  if (height % factor !== 0 || width % factor !== 0)
    throw new ValueError(`[${op}] expected a size of multiples of ${factor}, got ${height} x ${width}`);
  const latentShape = [height / factor, width / factor, model.vae.options.latentChannels] as const;
  const count = prompts.length * perPrompt;
  requirePictureBytes(op, count, [height, width], model.vae.options.channels);
  const own = [latentShape[2], latentShape[0], latentShape[1]];
  const each = own[0] * own[1] * own[2];
  if (latents && latents.length !== count * each)
    throw new ShapeError(op, `latents ${formatShape([count, ...own])}`, `${latents.length} numbers`);
  const noiseOf = (device: Device) => {
    const whole = latents ?? (noise === 'torch' ? torchRandn(seed, count * each) : undefined);
    return (from: number, n: number): Float32Array => {
      if (whole) return channelsLast(whole.slice(from * each, (from + n) * each), [n, ...latentShape]);
      return scope(() => initialNoise([n, ...latentShape], { seed, first: from, device }).dataSync()) as Float32Array;
    };
  };
  return {
    ...{ prompts, negatives, perPrompt, count, height, width, latentShape },
    ...{ steps, sampler, tolerance, guidance, batch, tile, last },
    notes: notesOf(prompts, guidance > 1 ? negatives : [], { steps, guidance, sampler }, model),
    noise: noiseOf,
    onProgress: checked.onProgress,
    signal: checked.signal,
  };
}

function notesOf(
  prompts: readonly string[],
  negatives: readonly string[],
  { steps, guidance, sampler }: Pick<PicturePlan, 'steps' | 'guidance' | 'sampler'>,
  { tokenizer, prediction }: TextToImage,
): string[] {
  const notes: string[] = [];
  for (const text of new Set([...prompts, ...negatives])) {
    const { cut } = tokenizer.encode(text);
    const most = tokenizer.length - 2;
    if (cut > 0)
      notes.push(`The text network reads ${most} tokens: the last ${cut} of "${shorten(text)}" are left out.`);
  }
  if (guidance > 1 && steps === 1 && sampler === 'euler' && prediction === 'velocity')
    notes.push(
      `A model distilled to one step was trained without guidance; ${guidance} doubles the work and may spoil colours.`,
    );
  return notes;
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
