import { cpus } from 'node:os';
import { openDevice } from '../device/open.ts';
import { requireWritable } from '../io/index.ts';
import { tune, writeTuning } from '../run/index.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { interruptible } from './interrupt.ts';
import { type Progress, startProgress } from './progress.ts';
import { deviceOptions } from './shared.ts';

export const tuneCommand: Command = {
  name: 'tune',
  summary: 'measures the convolution algorithms of this processor; RECTIFLOW_TUNING=FILE then uses the table',
  overrides: 'none',
  options: {
    out: { value: 'FILE', help: 'X.json; X.ts as the tables of the package; needed' },
    turns: { value: 'N', help: 'times that each algorithm is timed on a shape; default 4' },
    device: { value: 'NAME', help: 'cpu or wasm; default cpu' },
    threads: deviceOptions.threads,
  },
  async run(parsed) {
    const out = parsed.required('out');
    await requireWritable(out);
    const device = await openDevice(parsed.text('device') ?? 'cpu', { threads: parsed.whole('threads', 1) });
    let progress: Progress | undefined;
    const tuning = await interruptible((signal) =>
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
      `rates of ${device.name} in ${escapeText(out)}; RECTIFLOW_TUNING=${escapeText(out)} uses them\n`,
    );
    return 0;
  },
};
