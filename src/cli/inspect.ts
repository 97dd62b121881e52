// The command `inspect`: lists what a checkpoint holds, the tensors of a network, the parts of a text-to-image model, or how a
// picture was made.

import { join } from 'node:path';
import { FileError, formatShape, UsageError } from '../errors.ts';
import { exists, isFolder, readWhole } from '../io/file.ts';
import { parseJsonFile } from '../io/json.ts';
import { textsOf } from '../io/png_texts.ts';
import { findCheckpoint } from '../run/checkpoints/find.ts';
import { describeNotFinite } from '../run/checkpoints/finite.ts';
import { inspectFile, inspectModel, type TensorLine } from '../run/checkpoints/inspect.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { megabytes } from '../run/machine/resources.ts';
import { inspectTextToImage } from '../run/text/survey.ts';
import { escapeJson, escapeName, escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { alignedTable } from './results.ts';
import { configHelp, configOf } from './shared.ts';

export const inspectCommand: Command = {
  name: 'inspect',
  operands: ['[PATH]'],
  details: 'PATH is a checkpoint, any file of tensors, a folder or file of a text-to-image model, or a PNG of `text`.',
  overrides: keysReadBy('inspect'),
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; in place of a file` },
    variant: { value: 'NAME', help: 'with a text-to-image model: its weights of a variant, such as fp16' },
    json: { help: 'print JSON' },
  },
  async run(parsed) {
    const [reference] = parsed.operands;
    if ((reference === undefined) === (parsed.text('config') === undefined))
      throw new UsageError('give a file, or --config NAME: rectiflow inspect checkpoint_8.pth');
    if (reference !== undefined && parsed.overrides.length > 0)
      throw new UsageError('--config.KEY requires --config CONFIG; it does not apply to a file');
    const json = parsed.has('json');
    const isModel =
      reference !== undefined && isFolder(reference) && (await exists(join(reference, 'model_index.json')));
    if (parsed.has('variant') && !isModel)
      throw new UsageError('--variant has an effect only on the folder of a text-to-image model');
    if (reference === undefined) return network(await configOf(parsed), json);
    if (isModel) return textToImage(reference, parsed.text('variant'), json);
    if (/\.png$/i.test(reference)) return picture(reference, json);
    return file(reference, json);
  },
};

async function textToImage(path: string, variant: string | undefined, json: boolean): Promise<number> {
  const summary = await inspectTextToImage(path, { variant });
  if (json) return print([escapeJson(summary, 2)]);
  const { pipeline = 'text-to-image model', parts, parameters, bytes, memory } = summary;
  const rows = parts.map((part) => [
    part.name,
    `${count(part.tensors)} tensors`,
    `${count(part.parameters)} parameters`,
    part.dtypes.join(', '),
    megabytes(part.bytes),
    part.files.map((one) => escapeName(one.slice(path.length).replace(/^[\\/]/, ''))).join(', '),
  ]);
  return print([
    escapeText(`${path}: ${pipeline}`),
    ...alignedTable(rows),
    `${count(parameters)} parameters, ${megabytes(bytes)} in files, ${megabytes(memory)} in memory as f32`,
    'weights have licences of their own: docs/text-to-image.md',
  ]);
}

/** How a picture was made, as `text` wrote it into the file. */
async function picture(path: string, json: boolean): Promise<number> {
  const { rectiflow, Software: software = '' } = textsOf(await readWhole(path, MOST_PICTURE));
  if (rectiflow === undefined || !software.startsWith('rectiflow'))
    throw new FileError(path, 'does not say how it was made; `rectiflow text` writes that into its PNG files');
  const record = parseJsonFile(Buffer.from(rectiflow), path) as Record<string, unknown>;
  if (json) return print([escapeJson(record, 2)]);
  return print(Object.entries(record).map(([name, value]) => escapeText(`${name}: ${escapeJson(value)}`)));
}

const MOST_PICTURE = 2 ** 30;

async function network(config: Parameters<typeof inspectModel>[0], json: boolean): Promise<number> {
  const summary = inspectModel(config);
  if (json) return print([escapeJson(summary, 2)]);
  const fixed = summary.fixed > 0 ? `, ${count(summary.fixed)} of them fixed` : '';
  return print([...table(summary.tensors), `${count(summary.parameters)} parameters${fixed}`]);
}

async function file(reference: string, json: boolean): Promise<number> {
  const path = findCheckpoint(reference);
  const summary = await inspectFile(path);
  if (json) return print([escapeJson({ path, ...summary }, 2)]);
  const { kind, tensors, elements, values, step, emaDecay, config, notFinite } = summary;
  return print([
    escapeText(`${path}: ${kind}`),
    ...table(tensors),
    ...values.map(([name, text]) => escapeText(`${name}: ${text}`)),
    ...(config === undefined ? [] : [`configuration: ${escapeJson(config)}`]),
    `${tensors.length} tensors of ${count(elements)} numbers`,
    ...(notFinite ? [escapeText(`not finite: ${describeNotFinite(notFinite)}`)] : []),
    `step: ${step ?? 'not stated'}`,
    `EMA decay: ${emaDecay ?? 'not stated'}`,
  ]);
}

function table(tensors: readonly TensorLine[]): string[] {
  const names = tensors.map(({ name }) => escapeName(name));
  const width = names.reduce((longest, name) => Math.max(longest, name.length), 0);
  return tensors.map(({ dtype, shape }, i) => `${names[i].padEnd(width)}  ${dtype.padEnd(4)}  ${formatShape(shape)}`);
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function print(lines: readonly string[]): number {
  process.stdout.write(`${lines.join('\n')}\n`);
  return 0;
}
