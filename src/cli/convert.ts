// The command `convert`: translates checkpoints between the official code and rectiflow.
import { UsageError } from '../errors.ts';
import { convert } from '../run/checkpoints/convert.ts';
import { findCheckpoint } from '../run/checkpoints/find.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { configHelp, configOf, note, partialOption } from './shared.ts';

const kinds = {
  checkpoint: 'a rectiflow checkpoint',
  tree: 'with the tensor names of the official code; --config NAME would make it a rectiflow checkpoint',
  official: 'in the format of the official code',
  lora: "low-rank changes in kohya's layout",
  folder: 'a folder of diffusers',
};

export const convertCommand: Command = {
  name: 'convert',
  operands: ['FROM', 'TO'],
  overrides: 'all',
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; the configuration of its network` },
    partial: partialOption,
  },
  async run(parsed) {
    const [from, to] = parsed.operands;
    if (from === undefined || to === undefined)
      throw new UsageError('give two files: rectiflow convert checkpoint_8.pth checkpoint_8.safetensors');
    const named = parsed.text('config') !== undefined;
    if (!named && parsed.overrides.length > 0) throw new UsageError('--config.KEY requires --config CONFIG');
    if (!named && parsed.has('partial'))
      throw new UsageError('--partial requires --config CONFIG, which names the network to fit');
    const path = findCheckpoint(from);
    const config = named ? await configOf(parsed) : undefined;
    const result = await convert(path, to, { config, partial: parsed.has('partial'), onNotice: note });
    process.stdout.write(
      `${escapeText(path)} -> ${escapeText(to)}: ${result.tensors} tensors, ${kinds[result.kind]}\n`,
    );
    return 0;
  },
};
