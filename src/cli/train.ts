// The command `train`: trains a 1-rectified flow.
import { train } from '../run/training/train.ts';
import type { Command } from './arguments.ts';
import { configOf, deviceOf, requireKeys, showPlan, workOptions } from './shared.ts';
import { runTraining } from './training.ts';

export const trainCommand: Command = {
  name: 'train',
  details: 'Resumes if the work directory holds a run.',
  overrides: 'all',
  options: workOptions,
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const config = await configOf(parsed);
    if (parsed.has('dry-run'))
      return showPlan(config, `train steps 0 to ${config.training.n_iters} in ${workdir}`, 'train');
    requireKeys(config, 'train');
    const device = await deviceOf(parsed, config);
    return runTraining(config, (options) => train(config, { ...options, workdir, device }));
  },
};
