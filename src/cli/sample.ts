// The command `sample`: draws images from a checkpoint and writes them to a file.

import { UsageError } from '../errors.ts';
import { type Captions, captionsOf } from '../run/captions/captions.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { readLatents, requireSamplesWritable, sampleWriter } from '../run/sampling/output.ts';
import { sampleFromCheckpoint } from '../run/sampling/sample.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { joinedRanks } from './job.ts';
import { startProgress } from './progress.ts';
import {
  bestOption,
  checkpointOption,
  configHelp,
  configOfCheckpoint,
  deviceOf,
  deviceOptions,
  namedCheckpoint,
  note,
  partialOption,
} from './shared.ts';
import { checkSolver, readSolver, solverOptions } from './solver.ts';

const DEFAULT_NUM = 64;
const MOST_SCALE = 64;
const LARGEST_DEFAULT_BATCH = 256;

export const sampleCommand: Command = {
  name: 'sample',
  details: 'Uses the averaged weights.',
  overrides: keysReadBy('sample'),
  ranks: true,
  options: {
    checkpoint: checkpointOption,
    best: bestOption,
    out: {
      value: 'FILE',
      help: 'X.png: a grid; DIR/: a PNG for each image; X.npz: samples u8 [N, H, W, C]; X.npy: f32 [N, C, H, W]',
      required: true,
    },
    columns: { value: 'N', help: 'images in a row of the grid; default: the root of their number' },
    scale: { value: 'N', help: 'pixels for each pixel of an image in the grid; default 1' },
    labels: { help: 'write the number of each image above it in the grid' },
    config: { value: 'CONFIG', help: `${configHelp}; default: the configuration in the checkpoint` },
    partial: partialOption,
    num: { value: 'N', help: `number of images; default ${DEFAULT_NUM}, or the number of latents` },
    batch: {
      value: 'B',
      help: `images per batch, which share the step size of rk45; default: num, at most ${LARGEST_DEFAULT_BATCH}`,
    },
    ...solverOptions,
    prompt: { value: 'TEXT', help: 'text of the images, for a network with captions; default: its captions in turn' },
    guidance: {
      value: 'G',
      help: 'guidance towards the text, at most 1 for none; default: sampling.guidance',
      key: 'sampling.guidance',
    },
    seed: { value: 'S', help: 'seed of the noise; default: the seed of the configuration', key: 'seed' },
    latents: { value: 'FILE', help: 'z0.npy: f32, f64 or f16 [N, C, H, W], start points in place of noise' },
    ...deviceOptions,
  },
  async run(parsed) {
    const out = parsed.required('out');
    const write = sampleWriter(out, {
      columns: parsed.whole('columns', 1),
      scale: parsed.whole('scale', 1, MOST_SCALE),
      labels: parsed.has('labels') || undefined,
    });
    const { steps, tolerance } = readSolver(parsed);
    const seed = parsed.whole('seed', 0, Number.MAX_SAFE_INTEGER);
    const guidance = parsed.positive('guidance', 1000);
    const prompt = parsed.text('prompt');
    const wanted = parsed.whole('num', 1);
    const wantedBatch = parsed.whole('batch', 1);

    const ranks = joinedRanks();
    if (ranks?.isFirst ?? true) await requireSamplesWritable(out);
    const path = await namedCheckpoint(parsed);
    const config = await configOfCheckpoint(parsed, path);
    const captions = captionsOf(config);
    for (const name of ['prompt', 'guidance'])
      if (parsed.has(name) && !captions)
        throw new UsageError(`--${name} needs a network with captions; ${path} has model.name ${config.model.name}`);
    const cut = prompt === undefined ? 0 : (captions as Captions).tokenizer.encode(prompt).cut;
    if (cut > 0)
      note(`the last ${cut} tokens of the prompt are left out: the network takes ${config.model.text_length}`);
    const { use_ode_sampler: solver, sigma_variance: noise } = config.sampling;
    checkSolver(parsed, config);
    if (parsed.has('latents') && parsed.has('seed') && !(solver === 'euler' && noise > 0))
      throw new UsageError('--seed has no effect with --latents: no noise is drawn');
    const latentsFile = parsed.text('latents');
    const latents = latentsFile ? await readLatents(latentsFile, config) : undefined;
    const num = wanted ?? latents?.count ?? DEFAULT_NUM;
    if (latents && num > latents.count)
      throw new UsageError(`--num ${num} is more than the ${latents.count} latents in ${latentsFile}`);
    const batch = wantedBatch ?? Math.min(num, LARGEST_DEFAULT_BATCH);
    const device = await deviceOf(parsed, config);

    const size = config.data.image_size ** 2 * config.data.num_channels;
    const progress = startProgress('sample', num);
    const onProgress = ({ done, t, nfe }: { done: number; t: number; nfe: number }) =>
      progress.update(done, `t ${t.toFixed(3)}  NFE ${nfe}`);
    const result = await runInterruptible(async (signal) => {
      const sampled = await sampleFromCheckpoint(path, config, {
        partial: parsed.has('partial'),
        onNotice: note,
        num,
        batch,
        steps,
        tolerance,
        seed,
        guidance,
        prompts: prompt === undefined ? undefined : [prompt],
        latents: latents?.data.subarray(0, num * size),
        ranks,
        device,
        signal,
        onProgress,
      }).finally(() => progress.stop());
      if (ranks?.isFirst ?? true) await write(out, sampled.images, sampled.shape, config);
      return sampled;
    });
    const speed = (num / result.seconds).toPrecision(3);
    const written = num - result.leftOut.length;
    if (written < num) note(`${num - written} of ${num} samples are not finite and were left out`);
    process.stdout.write(
      `NFE ${Number(result.nfe.toFixed(2))}  ${speed} images/s  ${written} images in ${escapeText(out)}\n`,
    );
    return 0;
  },
};
