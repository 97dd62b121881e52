// The command `reflow`: generates pairs from a trained flow, or trains on them.
import { join } from 'node:path';
import type { Config } from '../run/config/schema.ts';
import { generatePairs } from '../run/sampling/generate_pairs.ts';
import { trainReflow } from '../run/training/reflow.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { joinedRanks } from './job.ts';
import { startProgress } from './progress.ts';
import {
  configOf,
  deviceOf,
  note,
  originOf,
  partialOption,
  requireKeys,
  runFolder,
  runOptions,
  showPlan,
} from './shared.ts';
import { runTraining } from './training.ts';

export const reflowCommand: Command = {
  name: 'reflow',
  details: 'reflow.reflow_type says whether it generates pairs or trains a flow or a one-step generator on them.',
  overrides: 'all',
  ranks: true,
  options: { ...runOptions, partial: partialOption },
  async run(parsed) {
    const folder = runFolder(parsed);
    const config = await configOf(parsed);
    if (parsed.has('dry-run')) return showPlan(config, whatRuns(config, folder.path), 'reflow');
    requireKeys(config, 'reflow');
    const partial = parsed.has('partial');
    const device = await deviceOf(parsed, config);
    if (!config.reflow.reflow_type.startsWith('generate'))
      return folder.within((workdir) =>
        runTraining(config, folder, (options) =>
          trainReflow(config, { ...options, workdir, device, partial, origin: originOf(parsed), ranks: joinedRanks() }),
        ),
      );
    const progress = startProgress('pairs', config.reflow.total_number_of_samples);
    const pairs = await runInterruptible(
      (signal) =>
        generatePairs(config, {
          device,
          partial,
          ranks: joinedRanks(),
          signal,
          onNotice: note,
          onProgress: (done) => progress.update(done, 'solved'),
        }),
      { saves: true },
    ).finally(() => progress.stop());
    process.stdout.write(`${pairs.count} pairs in ${escapeText(pairs.folder)}, NFE ${pairs.nfe.toFixed(1)}\n`);
    return 0;
  },
};

function whatRuns({ reflow, seed, training, model }: Config, workdir: string): string {
  const { reflow_type, total_number_of_samples, reflow_t_schedule, reflow_loss, online_steps } = reflow;
  if (reflow_type.startsWith('generate')) {
    const kind = reflow_type === 'generate_data_from_z1' ? 'pairs of images' : `pairs with seed ${seed}`;
    return `write ${total_number_of_samples} ${kind} to ${join(reflow.data_root || 'DIR', String(seed))}`;
  }
  const pairs =
    reflow_type === 'train_reflow'
      ? `the pairs in ${reflow.data_root || 'DIR'}`
      : `pairs from ${online_steps} Euler steps of ${reflow.last_flow_ckpt || 'FILE'}`;
  return (
    `train steps 0 to ${training.n_iters} in ${workdir} on ${pairs}, ` +
    `times ${reflow_t_schedule}, loss ${reflow_loss}, from ${reflow.last_flow_ckpt || model.folder || 'FILE'}`
  );
}
