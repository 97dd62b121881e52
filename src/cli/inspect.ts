// The command `inspect`: lists what a checkpoint holds, or the tensors of a network.

import { formatShape, UsageError } from '../errors.ts';
import { findCheckpoint } from '../run/checkpoints/find.ts';
import { describeNotFinite } from '../run/checkpoints/finite.ts';
import { inspectFile, inspectModel, type TensorLine } from '../run/checkpoints/inspect.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { escapeJson, escapeName, escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { configHelp, configOf } from './shared.ts';

export const inspectCommand: Command = {
  name: 'inspect',
  operands: ['[FILE]'],
  overrides: keysReadBy('inspect'),
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; in place of a file` },
    json: { help: 'print JSON' },
  },
  async run(parsed) {
    const [reference] = parsed.operands;
    if ((reference === undefined) === (parsed.text('config') === undefined))
      throw new UsageError('give a file, or --config NAME: rectiflow inspect checkpoint_8.pth');
    if (reference !== undefined && parsed.overrides.length > 0)
      throw new UsageError('--config.KEY requires --config CONFIG; it does not apply to a file');
    return reference === undefined
      ? network(await configOf(parsed), parsed.has('json'))
      : file(reference, parsed.has('json'));
  },
};

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
