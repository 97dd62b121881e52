// The command `train`: trains a 1-rectified flow.
import { train } from '../run/training/train.ts';
import type { Command } from './arguments.ts';
import { joinedRanks } from './job.ts';
import { configOf, deviceOf, originOf, requireKeys, runFolder, runOptions, showPlan } from './shared.ts';
import { runTraining } from './training.ts';

export const trainCommand: Command = {
  name: 'train',
  details: 'Resumes if the folder holds a run; without --workdir and --name it begins a new one.',
  overrides: 'all',
  ranks: true,
  options: runOptions,
  async run(parsed) {
    const folder = runFolder(parsed);
    const config = await configOf(parsed);
    if (parsed.has('dry-run'))
      return showPlan(config, `train steps 0 to ${config.training.n_iters} in ${folder.path}`, 'train');
    requireKeys(config, 'train');
    const device = await deviceOf(parsed, config);
    const origin = originOf(parsed);
    return folder.within((workdir) =>
      runTraining(config, folder, (options) =>
        train(config, { ...options, workdir, device, origin, ranks: joinedRanks() }),
      ),
    );
  },
};
