// The command `compare`: writes a page and a table that compare runs.
import { UsageError } from '../errors.ts';
import { compareRuns, csvBeside } from '../run/runs/compare.ts';
import { type Comparison, lastLoss, progressOf } from '../run/runs/read.ts';
import { escapeName, escapeText } from '../text.ts';
import type { Command } from './arguments.ts';
import { table } from './columns.ts';

export const compareCommand: Command = {
  name: 'compare',
  details:
    'Reads what the runs wrote into their folders and computes nothing; a chain counts as its flows. Run report first for scores.',
  overrides: 'none',
  operands: ['RUN...'],
  options: {
    out: { value: 'FILE', help: 'the page; default: compare.html' },
    csv: { help: 'write a table too, next to the page and with the ending .csv: a row for each run' },
  },
  async run(parsed) {
    if (parsed.operands.length === 0)
      throw new UsageError('compare needs the folders of runs: rectiflow compare RUN...');
    const out = parsed.text('out') ?? 'compare.html';
    if (!/\.html?$/i.test(out)) throw new UsageError(`--out expects a file name ending in .html, got "${out}"`);
    const csv = parsed.has('csv') ? csvBeside(out) : undefined;
    const comparison = await compareRuns(parsed.operands, { out, csv });
    for (const line of linesOf(comparison)) process.stdout.write(`${line}\n`);
    process.stdout.write(`page: ${escapeText(out)}\n`);
    if (csv !== undefined) process.stdout.write(`table: ${escapeText(csv)}\n`);
    return 0;
  },
};

/** The runs with their losses, and the keys in which they differ. */
function linesOf({ runs, keys }: Comparison): string[] {
  const figures = runs.map((run) => {
    const { steps, evalLoss, straightness } = progressOf(run);
    const numbers = [lastLoss(run), evalLoss, run.figures?.straightness ?? straightness];
    return [escapeName(run.name, 40), String(steps), ...numbers.map((value) => value?.toPrecision(4) ?? '-')];
  });
  const changed = keys.map(({ path, values }) => [
    path,
    ...values.map((value) => escapeName(JSON.stringify(value) ?? '-', 30)),
  ]);
  return [
    ...table([['run', 'steps', 'loss', 'held-out loss', 'straightness'], ...figures]),
    ...(runs.length > 1 && keys.length === 0 ? ['', 'the configurations are equal'] : []),
    ...(keys.length > 0
      ? ['', ...table([['changed key', ...runs.map(({ name }) => escapeName(name, 30))], ...changed])]
      : []),
  ];
}
