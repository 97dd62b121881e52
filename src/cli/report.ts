import { reportedFlows, reportFlows } from '../run/index.ts';
import { shown } from '../text.ts';
import type { Command } from './arguments.ts';
import { ChainDisplay, describeFigures, reportKeys } from './chain.ts';
import { interruptible } from './interrupt.ts';
import { deviceOf, deviceOptions, note, withOverrides } from './shared.ts';

export const reportCommand: Command = {
  name: 'report',
  summary:
    'report.html and report.json of a chain, as far as it is done, or of one run: samples, scores, straightness, paths',
  overrides: [
    'seed',
    'device',
    'precision',
    'exact',
    'data.root_path',
    'training.data_dir',
    'eval.batch_size',
    'eval.num_samples',
    'eval.straightness_samples',
    'eval.folder',
    'eval.features',
    'eval.inception',
    'eval.statistics',
    'eval.max_images',
    'sampling.ode_tol',
    'sampling.init_noise_scale',
    'sampling.memory_budget',
  ],
  options: { workdir: { value: 'DIR', help: 'folder of the chain or the run; needed' }, ...deviceOptions },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const { config: own, flows } = await reportedFlows(workdir);
    const config = withOverrides(parsed, own, reportKeys);
    const device = await deviceOf(parsed, config);
    const display = new ChainDisplay();
    const { path, figures } = await interruptible((signal) =>
      reportFlows(flows, config, {
        workdir,
        device,
        signal,
        onNotice: note,
        onProgress: (progress) => display.progress(progress),
      }).finally(() => display.stop()),
    );
    for (const line of describeFigures(figures)) process.stdout.write(`${shown(line)}\n`);
    process.stdout.write(`report: ${shown(path)}\n`);
    return 0;
  },
};
