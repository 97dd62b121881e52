// The commands `chain`, which trains a few-step generator from data, and `estimate`, which predicts what that takes.
import type { Device } from '../device/device.ts';
import { UsageError } from '../errors.ts';
import { estimateChain, type StageEstimate } from '../run/chain/estimate.ts';
import { type ChainProgress, runChain } from '../run/chain/index.ts';
import type { Config } from '../run/config/schema.ts';
import { describeDuration, megabytes } from '../run/machine/resources.ts';
import type { ReportFigures } from '../run/report/index.ts';
import { ASSUMED_NFE, describePlan } from '../run/training/plan.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Command, Option, Parsed } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { type Progress, startProgress } from './progress.ts';
import { say } from './screen.ts';
import { configOf, deviceOf, requireKeys, TrainingDisplay, workOptions } from './shared.ts';

/** Keys that a report reads whatever the sampler is: its tables always have an RK45 column. */
export const reportKeys = ['sampling.ode_tol'];

const priceOption: Option = { value: 'N', help: 'of an hour of the machine, for the column of costs' };

export const chainCommand: Command = {
  name: 'chain',
  details: 'Its stages are flow, pairs, reflow, distillation and report; the keys chain.* set them up.',
  overrides: 'all',
  options: { ...workOptions, price: priceOption },
  async run(parsed) {
    const workdir = parsed.required('workdir');
    if (parsed.has('price') && !parsed.has('dry-run'))
      throw new UsageError('--price requires --dry-run: a chain that runs prints no estimate');
    const config = await configOf(parsed, reportKeys);
    const device = await deviceOf(parsed, config);
    if (!parsed.has('dry-run')) return runChainCommand(config, workdir, device);
    process.stdout.write(`${escapeJson(config, 2)}\nwould run in ${escapeText(workdir)}\n`);
    return printEstimate(config, device, parsed);
  },
};

export const estimateCommand: Command = {
  name: 'estimate',
  details: 'The figures come from a short measurement on this machine.',
  overrides: 'all',
  options: { config: workOptions.config, price: priceOption, device: workOptions.device, threads: workOptions.threads },
  async run(parsed) {
    const config = await configOf(parsed, reportKeys);
    return printEstimate(config, await deviceOf(parsed, config), parsed);
  },
};

/** Runs the stages that are not complete yet. @returns the exit code */
export async function runChainCommand(config: Config, workdir: string, device: Device): Promise<number> {
  requireKeys(config, 'train');
  const display = new ChainDisplay();
  const { report } = await runInterruptible((signal) =>
    runChain(config, {
      workdir,
      device,
      signal,
      onStage: ({ name, index, total }) => {
        display.stop();
        say(`stage ${index + 1} of ${total}: ${name}`);
      },
      onCompile: display.training.onCompile,
      onStep: display.training.onStep,
      onPlan: (plan) => say(describePlan(plan)),
      onNotice: (text) => say(`note: ${text}`),
      onProgress: (progress) => display.progress(progress),
    }).finally(() => display.stop()),
  );
  if (!report) {
    process.stdout.write('stopped; run the same command again to resume\n');
    return 0;
  }
  for (const line of describeFigures(report.figures)) process.stdout.write(`${escapeText(line)}\n`);
  process.stdout.write(`report: ${escapeText(report.path)}\n`);
  return 0;
}

async function printEstimate(config: Config, device: Device, parsed: Parsed): Promise<number> {
  const price = parsed.positive('price');
  const stages = await estimateChain(config, device);
  const all: StageEstimate = {
    name: 'total',
    seconds: sum(stages.map(({ seconds }) => seconds)),
    memory: Math.max(...stages.map(({ memory }) => memory)),
    disk: sum(stages.map(({ disk }) => disk)),
  };
  const cells = [...stages, all].map(({ name, seconds, memory, disk }) => [
    name,
    describeDuration(seconds),
    megabytes(memory),
    megabytes(disk),
    ...(price === undefined ? [] : [((seconds / 3600) * price).toFixed(2)]),
  ]);
  const header = ['stage', 'time', 'memory', 'disk', ...(price === undefined ? [] : ['cost'])];
  for (const line of alignedTable([header, ...cells])) process.stdout.write(`${line}\n`);
  process.stdout.write(
    `on ${device.description}; assumes ${ASSUMED_NFE} evaluations per RK45 solve\n` +
      (price === undefined ? '--price N adds a cost column, at N per hour\n' : ''),
  );
  return 0;
}

/** A table with one line per stage; without scores it has straightness only. */
export function describeFigures({ features, heldOut, samples, stages }: ReportFigures): string[] {
  const samplers = Object.keys(stages[0].fd);
  const header = ['', 'straightness', ...samplers.map((sampler) => (sampler === 'rk45' ? 'RK45' : `N = ${sampler}`))];
  const rows = stages.map(({ name, straightness, fd }) => [
    name,
    straightness.toFixed(4),
    ...samplers.map((sampler) => fd[sampler].toPrecision(4)),
  ]);
  const what = features
    ? [
        `Frechet distance of ${samples} samples (${features}); of ${heldOut?.images} real images: ${heldOut?.fd.toPrecision(4)}`,
      ]
    : [];
  return [...alignedTable([header, ...rows]), ...what];
}

/** Aligns the first column left and the others right. */
function alignedTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Shows one stage at a time: its name, then its progress bar. */
export class ChainDisplay {
  readonly training = new TrainingDisplay();
  private bar: Progress | undefined;

  progress({ what, done, total }: ChainProgress): void {
    this.bar ??= startProgress(what, total);
    this.bar.update(done, '');
    if (done === total) this.stop();
  }

  stop(): void {
    this.training.stop();
    this.bar?.stop();
    this.bar = undefined;
  }
}
