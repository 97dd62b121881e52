// The end of a chain or a report: its figures, its samples, and where everything is.
import { describeDuration } from '../run/machine/resources.ts';
import type { FlowReport, ReportFigures } from '../run/report/index.ts';
import { escapeText } from '../text.ts';
import { blockPicture } from './block_picture.ts';
import { columnsOf, fileLink, isTerminal, paint, type Style } from './terminal.ts';

interface Ending {
  /** Seconds that the work took. */
  seconds: number;
  /** A command to try next. */
  next?: string;
}

/** Prints the figures of a report and its samples, then how long it took, its files and the next command. */
export function showReport({ path, picture, figures, samples }: FlowReport, { seconds, next }: Ending): void {
  const { stdout } = process;
  const room = isTerminal(stdout) ? columnsOf(stdout) : undefined;
  const lines = describeFigures(figures, room).map((line) => escapeText(line));
  if (isTerminal(stdout)) {
    for (const { name, steps, images, shape } of samples) {
      const title = `${escapeText(name)}: ${steps} step${steps === 1 ? '' : 's'} from noise to image`;
      lines.push('', paint('bold', title), ...blockPicture(images, shape, stdout));
    }
    lines.push('');
  }
  const row = (name: string, text: string, style?: Style) =>
    lines.push(`${paint('dim', `${name}:`)} ${style ? paint(style, text) : text}`);
  lines.push(paint('green', `done in ${describeElapsed(seconds)}`));
  if (samples.length > 0) row('samples', fileLink(escapeText(picture), picture));
  row('report', fileLink(escapeText(path), path));
  if (next) row('next', next, 'cyan');
  stdout.write(`${lines.join('\n')}\n`);
}

/** "42 s", "3 min 5 s", "1 h 12 min". */
export function describeElapsed(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : describeDuration(seconds);
}

/**
 * A table with one line per stage; without scores it has straightness only.
 * @param room columns of the terminal; its lines would wrap in fewer than they have
 */
export function describeFigures({ features, heldOut, samples, stages, reader }: ReportFigures, room = 1000): string[] {
  if (stages.length === 0) return ['no flow has a snapshot yet; the report shows the training so far'];
  const samplers = Object.keys(stages[0].fd);
  const header = ['', 'straightness', ...samplers.map((sampler) => (sampler === 'rk45' ? 'RK45' : `N = ${sampler}`))];
  const rows = stages.map(({ name, straightness, fd }) => [
    name,
    straightness.toFixed(4),
    ...samplers.map((sampler) => fd[sampler].toPrecision(4)),
  ]);
  const real = heldOut ? `; ${heldOut.images} real images are at ${heldOut.fd.toPrecision(4)}` : '';
  const what = features
    ? [`Frechet distance of ${samples} samples (${features})`, `smaller is better, in every column${real}`]
    : ['smaller is better: 0 means straight paths'];
  const readings = stages.flatMap(({ name, read }) =>
    read ? [[`${name}, read right`, '', ...samplers.map((sampler) => shareText(read[sampler]))]] : [],
  );
  const whole = [header, ...rows, ...readings];
  const table = alignedTable(whole);
  const fits = table.every((line) => line.length <= room);
  return [...(fits ? table : alignedTable(whole, ' ')), ...what, ...readingWords(reader)];
}

function shareText(share: number | undefined): string {
  return share === undefined ? '' : `${(100 * share).toFixed(1)} %`;
}

function readingWords(reader: ReportFigures['reader']): string[] {
  return reader
    ? [
        `read right: samples in which a classifier reads the class of their caption; it reads ${shareText(reader.accuracy)} of the real images`,
      ]
    : [];
}

/** Aligns the first column left and the others right. @param gap between columns */
export function alignedTable(rows: readonly (readonly string[])[], gap = '  '): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join(gap)
      .trimEnd(),
  );
}
