import { requireLabels, trainClassifier } from '../run/index.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import {
  configHelp,
  configOf,
  deviceOf,
  deviceOptions,
  note,
  requireKeys,
  showPlan,
  TrainingDisplay,
} from './shared.ts';

export const classifierCommand: Command = {
  name: 'classifier',
  summary:
    'train a small classifier of labelled images, whose features serve eval (--config.eval.features classifier:FILE)',
  overrides: ['seed', 'device', 'precision', 'exact', 'data.', 'training.data_dir'],
  options: {
    config: { value: 'CONFIG', help: `${configHelp}; needed` },
    out: { value: 'FILE', help: 'X.safetensors; needed' },
    steps: { value: 'N', help: 'updates; default 30 passes over the images, 3000 at most' },
    'dry-run': { help: 'prints the merged configuration and what would run, and ends' },
    ...deviceOptions,
  },
  async run(parsed) {
    const out = parsed.required('out');
    const steps = parsed.whole('steps', 1);
    const config = await configOf(parsed);
    requireLabels(config);
    if (parsed.has('dry-run'))
      return showPlan(config, `train a classifier of ${config.data.dataset} and write ${out}`, 'train');
    requireKeys(config, 'train');
    const device = await deviceOf(parsed, config);
    const display = new TrainingDisplay();
    const { onStep, onCompile } = display;
    const trained = await interruptible((signal) =>
      trainClassifier(config, { device, out, steps, signal, onStep, onCompile, onNotice: note }),
    ).finally(() => display.stop());
    const { accuracy, classes, path } = trained;
    process.stdout.write(
      `${(100 * accuracy).toFixed(1)} % of the held-out images right, ${classes} classes, ${trained.steps} steps: ${escapeText(path)}\n` +
        `rectiflow eval ... --config.eval.features classifier:${escapeText(path)}\n`,
    );
    return 0;
  },
};
