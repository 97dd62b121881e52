// The command `chain`, which trains a few-step generator from data, and the estimate of what that takes.
import type { Device } from '../device/device.ts';
import { UsageError } from '../errors.ts';
import { estimateChain, type StageEstimate } from '../run/chain/estimate.ts';
import { runChain } from '../run/chain/index.ts';
import { chainStages, type FlowStage, flowStages } from '../run/chain/stages.ts';
import type { Config } from '../run/config/schema.ts';
import { describeDuration, megabytes } from '../run/machine/resources.ts';
import { describeRange, total } from '../run/machine/timing.ts';
import { assumedNfe, describePlan } from '../run/training/plan.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Command, Option, Parsed } from './arguments.ts';
import { ChainDisplay } from './chain_display.ts';
import { runInterruptible } from './interrupt.ts';
import { joinedRanks, refuseJob } from './job.ts';
import { openFile, quoted } from './open_file.ts';
import { alignedTable, showReport } from './results.ts';
import { say } from './screen.ts';
import { configOf, deviceOf, requireKeys, workOptions } from './shared.ts';

/** Keys that a report reads whatever the sampler is: its tables always have an RK45 column. */
export const reportKeys = ['sampling.ode_tol'];

export const openOption: Option = { help: 'open the report in the browser when it is done' };

export const priceOption: Option = { value: 'N', help: 'of an hour of the machine, for the column of costs' };

export const chainCommand: Command = {
  name: 'chain',
  details: 'Its stages are flow, pairs, reflow, distillation and report; the keys chain.* set them up.',
  overrides: 'all',
  ranks: true,
  options: { ...workOptions, price: priceOption, open: openOption },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    if (parsed.has('dry-run')) refuseJob('--dry-run');
    if (parsed.has('price') && !parsed.has('dry-run'))
      throw new UsageError('--price requires --dry-run: a chain that runs prints no estimate');
    const config = await configOf(parsed, reportKeys);
    // Refuses what has no chain, before kernels are compiled.
    chainStages(config, workdir);
    const device = await deviceOf(parsed, config);
    if (!parsed.has('dry-run')) return runChainCommand(config, workdir, device, parsed.has('open'));
    process.stdout.write(`${escapeJson(config, 2)}\nwould run in ${escapeText(workdir)}\n`);
    return printEstimate(config, device, parsed);
  },
};

/** Runs the stages that are not complete yet. @param open whether to open the report in a browser @returns the exit code */
export async function runChainCommand(config: Config, workdir: string, device: Device, open = false): Promise<number> {
  requireKeys(config, 'train');
  const display = new ChainDisplay();
  const { report, stages } = await runInterruptible(
    (signal) =>
      runChain(config, {
        workdir,
        device,
        ranks: joinedRanks(),
        signal,
        onEstimate: (estimates) => display.estimated(estimates),
        onStage: (stage) => display.stage(stage),
        onCompile: display.training.onCompile,
        onStep: (step) => display.step(step),
        onPlan: (plan) => say(describePlan(plan)),
        onNotice: (text) => say(`note: ${text}`),
        onProgress: (progress) => display.progress(progress),
      }).finally(() => display.stop()),
    { saves: true },
  );
  if (!report) {
    process.stdout.write('stopped; run the same command again to resume\n');
    return 0;
  }
  const [last] = flowStages(stages).slice(-1);
  showReport(report, { seconds: display.totals.elapsed, next: sampleCommand(workdir, config, last) });
  if (open) openFile(report.path);
  return 0;
}

/** The command that draws more samples from the last flow. It fits into a line of 80 columns for the quickstart. */
function sampleCommand(workdir: string, { sampling }: Config, { distilledTo = 10 }: FlowStage): string {
  const sampler = sampling.use_ode_sampler === 'euler' ? '' : ' --sampler euler';
  return `npx rectiflow sample --checkpoint ${quoted(workdir)}${sampler} --steps ${distilledTo} --out new.png`;
}

export async function printEstimate(config: Config, device: Device, parsed: Parsed): Promise<number> {
  const price = parsed.positive('price');
  const stages = await estimateChain(config, device);
  const all: StageEstimate = {
    name: 'total',
    ...total(stages),
    memory: Math.max(...stages.map(({ memory }) => memory)),
    disk: stages.reduce((sum, { disk }) => sum + disk, 0),
  };
  const cells = [...stages, all].map(({ name, memory, disk, ...time }) => [
    name,
    describeDuration(time.seconds),
    describeRange(time),
    megabytes(memory),
    megabytes(disk),
    ...(price === undefined ? [] : [((time.seconds / 3600) * price).toFixed(2)]),
  ]);
  const header = ['stage', 'time', 'range', 'memory', 'disk', ...(price === undefined ? [] : ['cost'])];
  for (const line of alignedTable([header, ...cells])) process.stdout.write(`${line}\n`);
  process.stdout.write(
    `on ${device.description}; assumes ${assumedNfe(config.sampling.ode_tol)} evaluations per RK45 solve\n` +
      (price === undefined ? '--price N adds a cost column, at N per hour\n' : ''),
  );
  return 0;
}
