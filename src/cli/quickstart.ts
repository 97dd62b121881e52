import { applyOverrides, loadConfig, quickstart } from '../run/index.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { deviceOf, deviceOptions, TrainingDisplay } from './shared.ts';

export const quickstartCommand: Command = {
  name: 'quickstart',
  summary: 'train a small flow on handwritten digits, sample it with few and many steps, write a report (3 minutes)',
  overrides: true,
  options: {
    out: { value: 'DIR', help: 'folder of the report; default runs/quickstart' },
    ...deviceOptions,
  },
  async run(parsed) {
    const config = applyOverrides(await loadConfig('digits'), parsed.overrides);
    const device = await deviceOf(parsed, config);
    const display = new TrainingDisplay();
    const { onStep, onCompile } = display;
    const result = await interruptible((signal) =>
      quickstart({
        out: parsed.text('out') ?? 'runs/quickstart',
        config,
        device,
        signal,
        onStep,
        onCompile,
        onSample: ({ label, index, total }) => {
          if (index === 0) display.stop();
          process.stderr.write(`sample ${index + 1}/${total}: ${label}\n`);
        },
      }).finally(() => display.stop()),
    );
    const { judged, steps, seconds, checkpoint } = result;
    if (!judged) {
      process.stdout.write(`stopped after ${steps} steps, no report; checkpoint: ${checkpoint}\n`);
      return 0;
    }
    for (const { label, nfe, digits, energyDistance } of judged.rows)
      process.stdout.write(
        `${label.padEnd(22)} NFE ${String(nfe).padStart(4)}   within reach of a real digit: ${percent(digits)}   ` +
          `energy distance ${energyDistance.toFixed(4)}\n`,
      );
    process.stdout.write(`straightness ${judged.straightness.toFixed(4)}   ${seconds.toFixed(0)} s\n`);
    process.stdout.write(`report: ${judged.report}\n`);
    return 0;
  },
};

function percent(share: number): string {
  return `${(100 * share).toFixed(1).padStart(5)} %`;
}
