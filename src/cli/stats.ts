// The command `stats`: computes the features of a data set's images that scores compare samples with.
import { keysReadBy } from '../run/config/explain.ts';
import { openFeatures } from '../run/eval/feature_network.ts';
import { buildStatistics, statisticsPath } from '../run/eval/reference_statistics.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { type Progress, startProgress } from './progress.ts';
import { configHelp, configOf, deviceOf, deviceOptions, note, requireKeys } from './shared.ts';

export const statsCommand: Command = {
  name: 'stats',
  details: "The features are those of the data set's training images.",
  overrides: keysReadBy('stats'),
  options: {
    config: { value: 'CONFIG', help: configHelp, required: true },
    out: {
      value: 'FILE',
      help: "X.npz in the official layout (pool_3); default: a file in the user's data folder, where eval finds it",
    },
    ...deviceOptions,
  },
  async run(parsed) {
    const out = parsed.file('out', '.npz');
    const config = await configOf(parsed);
    requireKeys(config, 'evaluate data');
    const device = await deviceOf(parsed, config);
    const network = await openFeatures(config, { device, onNotice: note });
    using _network = network;
    const path = out ?? statisticsPath(config, network);
    let progress: Progress | undefined;
    const rows = await runInterruptible((signal) =>
      buildStatistics(config, network, path, {
        device,
        signal,
        onNotice: note,
        onProgress: (done, total) => {
          progress ??= startProgress('stats', total);
          progress.update(done, 'images');
        },
      }),
    ).finally(() => progress?.stop());
    process.stdout.write(`${network.name} features of ${rows} images written to ${escapeText(path)}\n`);
    return 0;
  },
};
