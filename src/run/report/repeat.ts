// How to make a run and its report again: command lines that a shell reads back as the same words.
import { join } from 'node:path';
import { nearestPreset } from '../config/nearest.ts';
import type { Config } from '../config/types.ts';
import { code, details, htmlTable, paragraph, type Section, section } from './html.ts';

/** A stage of a run, for the table of times. */
export interface ReportedStage {
  name: string;
  /** Folder or file that it writes. */
  path: string;
  /** Measured seconds of the commands that ran it; absent if nothing recorded them. */
  seconds?: number;
  state: 'complete' | 'begun' | 'not begun';
}

/** What a report says of a run besides its flows. */
export interface ReportedRun {
  /** The command that made it. */
  command: 'chain' | 'train' | 'reflow';
  /** The configuration that the command ran with. */
  config: Config;
  /** The file in the work directory that holds this configuration. */
  configFile: string;
  stages: readonly ReportedStage[];
}

/** Most keys that are written out in a command; with more, it names the file. */
const MOST_KEYS = 12;

export async function repeatSection(run: ReportedRun, workdir: string): Promise<Section> {
  const { command, config, configFile } = run;
  const preset = await nearestPreset(config);
  const again = ['--workdir', `${workdir}-again`];
  const named = preset.differences.length <= MOST_KEYS;
  const words = named
    ? ['--config', preset.name, ...preset.differences.map(({ path, b }) => `--config.${path}=${literal(b)}`)]
    : ['--config', join(workdir, configFile)];
  const changed = preset.differences.map(({ path, a, b }) => [path, JSON.stringify(a), JSON.stringify(b)]);
  return section(
    'Make it again',
    paragraph(
      'The run, from the start, in another folder. The same version on the same kind of processor gives the same bits.',
    ),
    code(shellLine(['npx', 'rectiflow', command, ...words, ...again])),
    paragraph('This page, after more training or with other samples:'),
    code(shellLine(['npx', 'rectiflow', 'report', '--workdir', workdir])),
    changed.length === 0
      ? paragraph(`The configuration is that of ${preset.name}, unchanged.`)
      : details(
          `Configuration: ${preset.name} with ${changed.length} changed ${changed.length === 1 ? 'key' : 'keys'}`,
          htmlTable('Changed keys', ['key', preset.name, 'here'], changed),
        ),
    details('The whole configuration', code(JSON.stringify(config, null, 1))),
  );
}

/** A value as `--config.KEY=` reads it. */
function literal(value: unknown): string {
  if (value === null) return 'None';
  return Array.isArray(value) ? `[${value.join(', ')}]` : String(value);
}

/** Words as a line of a POSIX shell. */
export function shellLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}
