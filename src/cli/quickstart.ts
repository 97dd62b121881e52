import { applyOverrides, loadConfig } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { runChainCommand } from './chain.ts';
import { deviceOf, deviceOptions } from './shared.ts';

export const quickstartCommand: Command = {
  name: 'quickstart',
  summary: 'the whole chain on handwritten digits: a flow, its reflow, a one-step generator, a report (minutes)',
  overrides: true,
  options: {
    out: { value: 'DIR', help: 'folder of the chain and its report; default runs/quickstart' },
    ...deviceOptions,
  },
  async run(parsed) {
    const config = applyOverrides(await loadConfig('digits'), parsed.overrides);
    return runChainCommand(config, parsed.text('out') ?? 'runs/quickstart', await deviceOf(parsed, config));
  },
};
