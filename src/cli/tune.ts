// The command `tune`: measures the convolution algorithms and writes the table of their rates.
import { cpus } from 'node:os';
import { openDevice } from '../device/open.ts';
import { requireWritable } from '../io/atomic.ts';
import { tune } from '../run/machine/tune.ts';
import { writeTuning } from '../run/machine/tuning.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { type Progress, startProgress } from './progress.ts';
import { checkDevice, deviceOptions } from './shared.ts';

export const tuneCommand: Command = {
  name: 'tune',
  details: 'RECTIFLOW_TUNING=FILE then uses the table.',
  overrides: 'none',
  options: {
    out: { value: 'FILE', help: 'the JSON file that the table is written to', required: true },
    turns: { value: 'N', help: 'measurements of each algorithm on each shape; default 4' },
    device: { value: 'NAME', help: 'device to measure, cpu or wasm; default cpu' },
    threads: deviceOptions.threads,
  },
  async run(parsed) {
    const out = parsed.required('out');
    checkDevice(parsed);
    await requireWritable(out);
    const device = await openDevice(parsed.text('device') ?? 'cpu', { threads: parsed.whole('threads', 1) });
    let progress: Progress | undefined;
    const tuning = await runInterruptible((signal) =>
      tune(device, {
        turns: parsed.whole('turns', 1),
        signal,
        onProgress: (done, total) => {
          progress ??= startProgress('tune', total);
          progress.update(done, 'shapes');
        },
      }),
    ).finally(() => progress?.stop());
    await writeTuning(out, tuning, {
      cpu: cpus()[0]?.model ?? 'unknown',
      device: `${device.name}, ${device.description}`,
      created: new Date().toISOString().slice(0, 10),
    });
    process.stdout.write(
      `rates of ${device.name} written to ${escapeText(out)}; set RECTIFLOW_TUNING=${escapeText(out)} to use them\n`,
    );
    return 0;
  },
};
