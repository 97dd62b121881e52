// The command `runs`: lists the runs of a folder.
import { existsSync } from 'node:fs';
import { FileError } from '../errors.ts';
import { describeDuration, megabytes } from '../run/machine/resources.ts';
import { listRuns, type RunSummary } from '../run/runs/list.ts';
import { RUNS } from '../run/workdir/new_folder.ts';
import { escapeJson, escapeName } from '../text.ts';
import type { Command } from './arguments.ts';

export const runsCommand: Command = {
  name: 'runs',
  details: `Lists the runs and chains in DIR, by default ${RUNS}, with the stages of chains. Lower scores are better.`,
  overrides: 'none',
  operands: ['[DIR]'],
  options: { json: { help: 'print JSON' } },
  async run(parsed) {
    const [folder = RUNS] = parsed.operands;
    if (!existsSync(folder))
      throw new FileError(
        folder,
        'no such folder; name the folder of your runs, or begin one: rectiflow train --config digits',
      );
    const runs = await listRuns(folder);
    if (parsed.has('json')) process.stdout.write(`${escapeJson(runs, 2)}\n`);
    else if (runs.length === 0) process.stdout.write(`no runs in ${escapeName(folder)}\n`);
    else for (const line of tableOf(runs, new Date())) process.stdout.write(`${line}\n`);
    return 0;
  },
};

const header = ['run', 'state', 'config', 'steps', 'loss', 'best score', 'age', 'size'];

/** @param now the time that ages are measured from */
export function tableOf(runs: readonly RunSummary[], now: Date): string[] {
  const rows = runs.map(({ name, state, config, steps, total, loss, score, changed, bytes, more }) => [
    escapeName(name, 40),
    state,
    escapeName(config, 20),
    steps === undefined ? '' : `${steps}/${total ?? '?'}`,
    loss?.toPrecision(4) ?? '',
    score?.value.toPrecision(4) ?? '',
    describeDuration(Math.max(0, (now.getTime() - changed.getTime()) / 1000)),
    `${more ? '> ' : ''}${megabytes(bytes)}`,
  ]);
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const isText = (column: number) => column < 3;
  return all.map((row) =>
    row
      .map((cell, column) => (isText(column) ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  ')
      .trimEnd(),
  );
}
