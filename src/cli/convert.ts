import { UsageError } from '../errors.ts';
import { convert, findCheckpoint } from '../run/index.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { configHelp, configOf, note, partialOption } from './shared.ts';

const kinds = {
  checkpoint: 'a checkpoint to sample from and go on with',
  tree: 'under the names of the official code; with --config NAME it becomes a checkpoint of rectiflow',
  official: 'as the official code reads it',
};

export const convertCommand: Command = {
  name: 'convert',
  summary: 'a checkpoint of the official code (.pth) to .safetensors, and back',
  operands: ['FROM', 'TO'],
  overrides: 'all',
  options: {
    config: { value: 'CONFIG', help: `${configHelp}: the network it is of` },
    partial: partialOption,
  },
  async run(parsed) {
    const [from, to] = parsed.operands;
    if (from === undefined || to === undefined)
      throw new UsageError('give two files: rectiflow convert checkpoint_8.pth checkpoint_8.safetensors');
    const named = parsed.text('config') !== undefined;
    if (!named && parsed.overrides.length > 0) throw new UsageError('--config.KEY needs --config CONFIG');
    if (!named && parsed.has('partial'))
      throw new UsageError('--partial needs --config CONFIG: only a network can be fitted in part');
    const path = findCheckpoint(from);
    const config = named ? await configOf(parsed) : undefined;
    const result = await convert(path, to, { config, partial: parsed.has('partial'), onNotice: note });
    process.stdout.write(
      `${escapeText(path)} -> ${escapeText(to)}: ${result.tensors} tensors, ${kinds[result.kind]}\n`,
    );
    return 0;
  },
};
