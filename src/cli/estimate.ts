// The command `estimate`: predicts what a chain takes, or what pictures of texts take, before any of the work is done.
import { UsageError } from '../errors.ts';
import { type FixedSolver, fixedSolvers } from '../flow/index.ts';
import { chainStages } from '../run/chain/stages.ts';
import { describeDuration, deviceMemory, megabytes } from '../run/machine/resources.ts';
import { describeRange, total } from '../run/machine/timing.ts';
import { estimateTextToImage } from '../run/text/estimate.ts';
import { escapeText } from '../text.ts';
import type { Command, Parsed } from './arguments.ts';
import { priceOption, printEstimate, reportKeys } from './chain.ts';
import { alignedTable } from './results.ts';
import { configHelp, configOf, deviceOf, deviceOptions, note } from './shared.ts';
import {
  flowOptions,
  modelOptions,
  precisionOf,
  sizeOption,
  textDeviceOptions,
  weightsOf,
  weightsOption,
} from './text_model.ts';

/** Options that only pictures of texts have. */
const ofPictures = {
  variant: modelOptions.variant,
  size: { value: 'HxW', help: 'with --model: pixels of a picture; default 512' },
  steps: { value: 'N', help: 'with --model: steps from noise to picture; default 1' },
  sampler: { value: 'NAME', help: `with --model: ${fixedSolvers.join(' | ')}; default euler` },
  guidance: { value: 'G', help: 'with --model: scale of the guidance; default 0' },
  count: { value: 'N', help: 'with --model: pictures; default 1' },
  tile: { value: 'N', help: 'with --model: decode in tiles of N pixels' },
  weights: { ...weightsOption, help: `with --model: ${weightsOption.help}` },
  precision: textDeviceOptions.precision,
};

export const estimateCommand: Command = {
  name: 'estimate',
  details: 'The figures come from a short measurement on this machine.',
  overrides: 'all',
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; for a chain` },
    price: priceOption,
    model: { ...modelOptions.model, help: `${modelOptions.model.help}; for pictures of texts` },
    ...ofPictures,
    ...deviceOptions,
  },
  async run(parsed) {
    if (parsed.has('model') === parsed.has('config'))
      throw new UsageError('give --config NAME for a chain, or --model DIR for pictures of texts');
    if (parsed.has('model')) return printPictures(parsed);
    const inert = Object.keys(ofPictures).find((name) => parsed.has(name));
    if (inert !== undefined) throw new UsageError(`--${inert} has no effect without --model`);
    const config = await configOf(parsed, reportKeys);
    // Refuses what has no chain, before kernels are compiled.
    chainStages(config, '.');
    return printEstimate(config, await deviceOf(parsed, config), parsed);
  },
};

async function printPictures(parsed: Parsed): Promise<number> {
  if (parsed.has('price') || parsed.overrides.length > 0)
    throw new UsageError('--price and --config.KEY have no effect with --model');
  const sampler = parsed.oneOf('sampler', fixedSolvers) as FixedSolver | undefined;
  const { steps, guidance } = flowOptions(parsed);
  const count = parsed.whole('count', 1) ?? 1;
  const tile = parsed.whole('tile', 64);
  const device = await deviceOf(parsed, { device: 'cpu', precision: precisionOf(parsed), exact: false });
  const { summary, stages, memory } = await estimateTextToImage(parsed.required('model'), device, {
    variant: parsed.text('variant'),
    weights: weightsOf(parsed, device),
    size: sizeOption(parsed),
    sampler,
    steps,
    guidance,
    count,
    tile: tile === undefined ? undefined : Math.floor(tile / 8),
  });
  const all = { name: 'total', ...total(stages), memory };
  const cells = [...stages, all].map(({ name, memory: own, ...time }) => [
    name,
    describeDuration(time.seconds),
    describeRange(time),
    megabytes(own),
  ]);
  for (const line of alignedTable([['part', 'time', 'range', 'memory'], ...cells])) process.stdout.write(`${line}\n`);
  const millions = (summary.parameters / 1e6).toFixed(1);
  process.stdout.write(
    `${escapeText(summary.path)}: ${millions} million parameters, ${megabytes(summary.bytes)} in files, ${megabytes(summary.memory)} in memory\n` +
      `on ${device.description}\n`,
  );
  if (memory > deviceMemory(device)) note(`this machine has ${megabytes(deviceMemory(device))}`);
  return 0;
}
