// The command `pairs`: checks stored pairs of noise and image.

import type { PairFinding } from '../data/pairs/check.ts';
import { UsageError } from '../errors.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { examinePairs } from '../run/sampling/check_pairs.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { startProgress } from './progress.ts';
import { configHelp, configOf, note } from './shared.ts';

const marks: Record<PairFinding['state'], string> = { ok: 'ok    ', note: 'note  ', broken: 'BROKEN' };

export const pairsCommand: Command = {
  name: 'pairs',
  details: 'Checks noise, order, duplicates, checksums and NFE.',
  operands: ['DIR'],
  overrides: keysReadBy('pairs'),
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; gives shape, number and noise scale of the pairs` },
    data: { help: 'compare z1 with the data set of --config' },
    limit: { value: 'N', help: 'check at most the first N pairs of each folder; default: all' },
    json: { help: 'print JSON' },
  },
  async run(parsed) {
    const [root] = parsed.operands;
    if (root === undefined)
      throw new UsageError('give the folder of the pairs: rectiflow pairs DIR (reflow.data_root)');
    if (parsed.text('config') === undefined && (parsed.has('data') || parsed.overrides.length > 0))
      throw new UsageError('--data and --config.KEY require --config CONFIG');
    const config = parsed.text('config') === undefined ? undefined : await configOf(parsed);
    let progress: ReturnType<typeof startProgress> | undefined;
    const findings = await runInterruptible((signal) =>
      examinePairs(root, {
        config,
        data: parsed.has('data'),
        limit: parsed.whole('limit', 1),
        signal,
        onNotice: note,
        onProgress: (done, total) => {
          progress ??= startProgress('pairs', total);
          progress.update(done, 'read');
        },
      }),
    ).finally(() => progress?.stop());
    const broken = findings.some(({ state }) => state === 'broken');
    if (parsed.has('json')) process.stdout.write(`${escapeJson({ root, broken, findings }, 2)}\n`);
    else {
      const rows = findings.map(({ what, state, detail }) => [marks[state], escapeText(what), escapeText(detail)]);
      const width = Math.max(...rows.map(([, what]) => what.length));
      for (const [mark, what, detail] of rows) process.stdout.write(`${mark}  ${what.padEnd(width)}  ${detail}\n`);
    }
    return broken ? 1 : 0;
  },
};
