// The command `report`: writes a page on a chain or a run.
import { reportedFlows } from '../run/chain/flows.ts';
import { keysReadBy } from '../run/config/explain.ts';
import { reportFlows } from '../run/report/index.ts';
import type { Command } from './arguments.ts';
import { openOption, reportKeys } from './chain.ts';
import { ChainDisplay } from './chain_display.ts';
import { runInterruptible } from './interrupt.ts';
import { openFile } from './open_file.ts';
import { showReport } from './results.ts';
import { deviceOf, deviceOptions, note, withOverrides } from './shared.ts';

/** Default of --budget. */
const BUDGET_MINUTES = 10;
/** Most samples unless the command line gives their number. */
const MOST_SAMPLES = 2048;

export const reportCommand: Command = {
  name: 'report',
  details:
    'Writes report.html and report.json with samples, scores, straightness, paths, times and costs; the chain or the run ' +
    `may be incomplete. Draws at most ${MOST_SAMPLES} samples, and no more than the budget allows, unless ` +
    '--config.eval.num_samples gives their number.',
  overrides: keysReadBy('report'),
  options: {
    workdir: { value: 'DIR', help: 'folder of the chain or the run', required: true },
    budget: {
      value: 'MINUTES',
      help: `most minutes that its samples may take; default ${BUDGET_MINUTES}`,
    },
    price: { value: 'N', help: 'of an hour of the machine, for the column of costs' },
    open: openOption,
    ...deviceOptions,
  },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    const budgetMinutes = parsed.positive('budget') ?? BUDGET_MINUTES;
    const price = parsed.positive('price');
    const { config: own, flows, run } = await reportedFlows(workdir);
    const config = withOverrides(parsed, own, reportKeys);
    const device = await deviceOf(parsed, config);
    const display = new ChainDisplay();
    const report = await runInterruptible((signal) =>
      reportFlows(flows, config, {
        workdir,
        device,
        budgetMinutes,
        ...(parsed.sets('eval.num_samples') ? { samples: config.eval.num_samples } : { mostSamples: MOST_SAMPLES }),
        run,
        price,
        signal,
        onNotice: note,
        onProgress: (progress) => display.progress(progress),
      }).finally(() => display.stop()),
    );
    showReport(report, { seconds: display.totals.elapsed });
    if (parsed.has('open')) openFile(report.path);
    return 0;
  },
};
