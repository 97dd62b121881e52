import { UsageError } from '../errors.ts';
import { evaluateSnapshots } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { type Progress, startProgress } from './progress.ts';
import { configOf, deviceOf, runOptions, showPlan } from './shared.ts';

export const evalCommand: Command = {
  name: 'eval',
  summary: 'evaluation loss of every snapshot in a work directory, over the whole held-out part',
  overrides: true,
  options: {
    ...runOptions,
    checkpoint: { value: 'FILE', help: 'this one instead of every snapshot' },
  },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const config = await configOf(parsed);
    if (!config.eval.enable_loss) throw new UsageError('nothing to evaluate: eval.enable_loss is false');
    const checkpoint = parsed.text('checkpoint');
    if (parsed.has('dry-run')) return showPlan(config, `evaluate ${checkpoint ?? `every snapshot in ${workdir}`}`);
    const device = await deviceOf(parsed);
    let progress: Progress | undefined;
    const rows = await interruptible((signal) =>
      evaluateSnapshots(config, {
        workdir,
        checkpoint,
        device,
        signal,
        onNotice: (text) => process.stderr.write(`note: ${text}\n`),
        onProgress: ({ done, total }) => {
          progress ??= startProgress('eval', total);
          progress.update(done, 'images');
          if (done < total) return;
          progress.stop();
          progress = undefined;
        },
      }),
    );
    for (const { step, loss, images } of rows)
      process.stdout.write(`checkpoint_${step}  loss ${loss.toFixed(5)} over ${images} held-out images\n`);
    return 0;
  },
};
