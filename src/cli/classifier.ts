// The command `classifier`: trains a small classifier whose features score samples.
import { keysReadBy } from '../run/config/explain.ts';
import { requireLabels, trainClassifier } from '../run/eval/train_classifier.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
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
  details: 'Trains on labelled images; --config.eval.features classifier:FILE scores samples by its features.',
  overrides: keysReadBy('classifier'),
  options: {
    config: { value: 'CONFIG', help: configHelp, required: true },
    out: { value: 'FILE', help: 'X.safetensors', required: true },
    steps: { value: 'N', help: 'number of updates; default: 30 epochs, at most 3000' },
    'held-out': { help: 'train on the held-out images instead, and test on the training images: for eval.reader' },
    'dry-run': { help: 'print the merged configuration and what would run, then exit' },
    ...deviceOptions,
  },
  async run(parsed) {
    const out = parsed.file('out', '.safetensors') as string;
    const steps = parsed.whole('steps', 1);
    const heldOut = parsed.has('held-out');
    const config = await configOf(parsed);
    requireLabels(config);
    if (parsed.has('dry-run'))
      return showPlan(config, `train a classifier on ${config.data.dataset} and write ${out}`, 'train');
    requireKeys(config, 'train');
    const device = await deviceOf(parsed, config);
    const display = new TrainingDisplay();
    const { onStep, onCompile } = display;
    const trained = await runInterruptible((signal) =>
      trainClassifier(config, {
        device,
        out,
        part: heldOut ? 'heldOut' : 'train',
        steps,
        signal,
        onStep,
        onCompile,
        onNotice: note,
      }),
    ).finally(() => display.stop());
    const { accuracy, classes, path } = trained;
    process.stdout.write(
      `${(100 * accuracy).toFixed(1)} % accuracy on ${heldOut ? 'training' : 'held-out'} images, ${classes} classes, ${trained.steps} steps: ${escapeText(path)}\n` +
        (heldOut
          ? `rectiflow report ... --config.eval.reader ${escapeText(path)}\n`
          : `rectiflow eval ... --config.eval.features classifier:${escapeText(path)}\n`),
    );
    return 0;
  },
};
