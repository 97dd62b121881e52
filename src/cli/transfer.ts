// The command `transfer`: carries images to the other domain of a flow between two sets of images, or back.
import { UsageError } from '../errors.ts';
import { loadModel } from '../run/checkpoints/open.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { requireSamplesWritable, sampleWriter } from '../run/sampling/output.ts';
import { requireTransfer, transferImages, transferInput } from '../run/sampling/transfer.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import {
  bestOption,
  checkpointOption,
  configHelp,
  configOfCheckpoint,
  deviceOf,
  deviceOptions,
  namedCheckpoint,
  note,
} from './shared.ts';
import { checkSolver, readSolver, solverOptions } from './solver.ts';

const MOST_SCALE = 64;

export const transferCommand: Command = {
  name: 'transfer',
  details: 'Takes the averaged weights of a flow that was trained with sampling.init_type data.',
  operands: ['FILE...'],
  overrides: keysReadBy('transfer'),
  options: {
    checkpoint: checkpointOption,
    best: bestOption,
    input: {
      value: 'PATH|N',
      help: 'an image file or a folder of them, further files may follow; or a number of held-out images',
      required: true,
    },
    out: {
      value: 'FILE',
      help: 'X.png: a sheet with each image left of what it becomes; DIR/: a PNG for each; X.npz, X.npy as in sample',
      required: true,
    },
    reverse: { help: 'from the target to the source' },
    ...solverOptions,
    seed: { value: 'S', help: 'seed of the noise of sampling.smooth_source', key: 'seed' },
    scale: { value: 'N', help: 'pixels for each pixel of an image in the sheet; default 1' },
    config: { value: 'CONFIG', help: `${configHelp}; default: the configuration in the checkpoint` },
    ...deviceOptions,
  },
  async run(parsed) {
    const out = parsed.required('out');
    const isSheet = /\.png$/i.test(out);
    const scale = parsed.whole('scale', 1, MOST_SCALE);
    const write = sampleWriter(out, { columns: undefined, scale });
    const { steps, tolerance } = readSolver(parsed);
    const seed = parsed.whole('seed', 0, Number.MAX_SAFE_INTEGER);
    const reverse = parsed.has('reverse');
    const given = parsed.required('input');
    const number = /^\d+$/.test(given) ? Number(given) : undefined;
    if (number !== undefined && parsed.operands.length > 0)
      throw new UsageError(`--input ${given} is a number of held-out images; no files can follow it`);
    if (number !== undefined && !(number >= 1 && number <= 65_536))
      throw new UsageError(`--input expects a number of images from 1 to 65536, or paths; got "${given}"`);
    if (reverse && seed !== undefined) throw new UsageError('--seed has no effect with --reverse: no noise is drawn');

    await requireSamplesWritable(out);
    const path = await namedCheckpoint(parsed);
    const config = await configOfCheckpoint(parsed, path);
    requireTransfer(config);
    checkSolver(parsed, config);
    const input = await transferInput(config, number ?? [given, ...parsed.operands], { reverse, onNotice: note });
    const device = await deviceOf(parsed, config);
    const { model: loaded } = await loadModel(path, config, { device, onNotice: note });
    using model = loaded;
    const result = await runInterruptible(async (signal) => {
      const options = { images: input.images, device, reverse, steps, tolerance, seed, signal };
      const { images, shape, nfe } = await transferImages(model, config, options);
      if (!isSheet) await write(out, images, shape, config);
      else {
        const [num, ...image] = shape;
        const columns = 2 * Math.max(1, Math.round(Math.sqrt(num / 2)));
        const sheet = sampleWriter(out, { columns, scale });
        await sheet(out, besides(input.images, images, num), [2 * num, ...image], config);
      }
      return { num: shape[0], nfe };
    });
    const { num, nfe } = result;
    process.stdout.write(
      `NFE ${Number(nfe.toFixed(2))}  ${num} image${num === 1 ? '' : 's'} ${reverse ? 'from the target to the source' : 'from the source to the target'} in ${escapeText(out)}\n`,
    );
    return 0;
  },
};

/** Each of `count` images before what it becomes. */
function besides(starts: Float32Array, ends: Float32Array, count: number): Float32Array {
  const size = starts.length / count;
  const both = new Float32Array(2 * starts.length);
  for (let i = 0; i < count; i++) {
    both.set(starts.subarray(i * size, (i + 1) * size), 2 * i * size);
    both.set(ends.subarray(i * size, (i + 1) * size), (2 * i + 1) * size);
  }
  return both;
}
