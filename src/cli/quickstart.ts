// The command `quickstart`: the command `chain` with the configuration of the digits.
import { loadConfig } from '../run/config/index.ts';
import type { Command } from './arguments.ts';
import { openOption, reportKeys, runChainCommand } from './chain.ts';
import { deviceOf, deviceOptions, withOverrides } from './shared.ts';

export const quickstartCommand: Command = {
  name: 'quickstart',
  details: 'The chain is a flow, its reflow, a one-step generator and a report.',
  overrides: 'all',
  options: {
    out: { value: 'DIR', help: 'folder for the chain and its report; default runs/quickstart' },
    open: openOption,
    ...deviceOptions,
  },
  async run(parsed) {
    const config = withOverrides(parsed, await loadConfig('digits'), reportKeys);
    return runChainCommand(
      config,
      parsed.text('out') ?? 'runs/quickstart',
      await deviceOf(parsed, config),
      parsed.has('open'),
    );
  },
};
