// The command `figure`: draws a figure of a run for a paper.
import { UsageError } from '../errors.ts';
import { requireWritable } from '../io/atomic.ts';
import { parseLength } from '../run/plot/index.ts';
import { drawFigure, figureKinds } from '../run/runs/figure.ts';
import { figureWriter } from '../run/runs/figure_file.ts';
import { escapeText } from '../text.ts';
import type { Command } from './arguments.ts';

/** Widths in points: what fits a column to what fits a poster. */
const [NARROWEST, WIDEST] = [72, 7200];
const [SMALLEST, LARGEST] = [4, 72];

export const figureCommand: Command = {
  name: 'figure',
  details:
    'Shows what the run and its report stored, with the numbers of report.json; lines have markers, so it is usable without colour.',
  overrides: 'none',
  operands: ['RUN'],
  options: {
    kind: {
      value: 'KIND',
      help: `${figureKinds.join(' | ')}: distance by evaluations, losses, samples, paths`,
      required: true,
    },
    out: { value: 'FILE', help: 'X.svg or X.pdf: vector graphics; X.png: 600 dots per inch', required: true },
    width: { value: 'LENGTH', help: 'such as 84mm, 6.75in or 240pt; default: 84mm, one column' },
    height: { value: 'LENGTH', help: 'of a plot, without the names above it; default: 0.6 of the width' },
    'font-size': { value: 'POINTS', help: 'default: 8' },
    columns: { value: 'N', help: 'images in a row of grid; default: 8' },
  },
  async run(parsed) {
    const [folder] = parsed.operands;
    if (folder === undefined) throw new UsageError('figure needs the folder of a run: rectiflow figure RUN');
    const kind = parsed.oneOf('kind', figureKinds);
    if (kind === undefined) throw new UsageError(`--kind is required: one of ${figureKinds.join(', ')}`);
    const out = parsed.required('out');
    const write = figureWriter(out);
    const length = (name: string) => {
      const text = parsed.text(name);
      const value = text === undefined ? undefined : parseLength(text);
      if (text !== undefined && (value === undefined || value < NARROWEST || value > WIDEST))
        throw new UsageError(
          `--${name} expects a length such as 84mm, 6.75in or 240pt, from 1in to 100in, got "${text}"`,
        );
      return value;
    };
    const fontSize = parsed.positive('font-size');
    if (fontSize !== undefined && (fontSize < SMALLEST || fontSize > LARGEST))
      throw new UsageError(`--font-size expects ${SMALLEST} to ${LARGEST} points, got ${fontSize}`);
    const [width, height, columns] = [length('width'), length('height'), parsed.whole('columns', 1, 100)];
    await requireWritable(out);
    await write(await drawFigure(folder, { kind, width, height, fontSize, columns }));
    process.stdout.write(`figure: ${escapeText(out)}\n`);
    return 0;
  },
};
