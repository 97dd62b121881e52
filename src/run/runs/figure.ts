// Figures of a run for papers: distance against evaluations, losses, samples, paths. They show what the run and its report
// stored, so their numbers are those of the report.
import { join } from 'node:path';
import { checkArgument, checkOptions, kinds, type OptionKinds, oneOf } from '../../arguments.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { requireFolder } from '../../io/file.ts';
import { type Drawing, linePlot, type Point, paperTheme, type Series, type Theme } from '../plot/index.ts';
import type { ReportFigures } from '../report/index.ts';
import { smooth, thin, wide } from '../report/plots.ts';
import { distanceSeries } from './distance_series.ts';
import { gridFigure, pathsFigure } from './picture_figures.ts';
import { readReport, readRun, reportLine } from './read.ts';

export const figureKinds = ['nfe', 'loss', 'grid', 'paths'] as const;
export type FigureKind = (typeof figureKinds)[number];

export interface FigureOptions {
  /**
   * `nfe`: distance against evaluations of the network; `loss`: losses during training; `grid`: samples from the same noise;
   * `paths`: from noise to data.
   */
  kind: FigureKind;
  /** In points, 1/72 inch. Default 238, a column of 84 mm. */
  width?: number;
  /** Height of a plot, without the names above it, in points. Default: 0.6 of the width. */
  height?: number;
  /** In points. Default 8. */
  fontSize?: number;
  /** Images in a row of `grid`. Default 8. */
  columns?: number;
}

const optionKinds: OptionKinds<FigureOptions> = {
  kind: oneOf(figureKinds),
  width: kinds.positive,
  height: kinds.positive,
  fontSize: kinds.positive,
  columns: kinds.count,
};

export const COLUMN = (84 * 72) / 25.4;
const FONT_SIZE = 8;

/** What a figure is drawn with. */
export interface FigureStyle {
  theme: Theme;
  width: number;
  height: number;
  columns: number;
}

/**
 * Draws a figure of a run, of a chain, or of a report on flows in the plane.
 * @param folder that of the run, the chain or the report
 * @throws FileError if the folder lacks what the figure shows
 */
export async function drawFigure(folder: string, options: FigureOptions): Promise<Drawing> {
  checkArgument('drawFigure', 'folder', folder, kinds.path);
  const checked = checkOptions('drawFigure', options, optionKinds, ['kind']);
  const { kind, width = COLUMN, height = 0.6 * width, fontSize = FONT_SIZE, columns = 8 } = checked;
  if (width < 12 * fontSize)
    throw new ConfigError(
      `a figure of ${Math.round(width)} pt is too narrow for text of ${fontSize} pt; make it wider`,
    );
  requireFolder(folder);
  const style: FigureStyle = { theme: paperTheme(fontSize), width, height, columns };
  const drawing =
    kind === 'nfe'
      ? await distanceFigure(folder, style)
      : kind === 'loss'
        ? await lossFigure(folder, style)
        : await (kind === 'grid' ? gridFigure : pathsFigure)(folder, style);
  return { ...drawing, background: style.theme.background };
}

/** The report of a folder. @throws FileError without one */
export async function requireReport(folder: string): Promise<ReportFigures> {
  const report = await readReport(folder);
  if (report === undefined) throw new FileError(folder, `has no report.json; write it first: ${reportLine(folder)}`);
  return report;
}

async function distanceFigure(folder: string, { theme, width, height }: FigureStyle): Promise<Drawing> {
  const report = await requireReport(folder);
  if (report.features === undefined)
    throw new FileError(
      join(folder, 'report.json'),
      'has no distances: its samples were not scored; see rectiflow report --help',
    );
  const series = distanceSeries(report.stages);
  const points = series.flatMap((one) => one.points);
  const drawing = linePlot(series, {
    theme,
    title: '',
    xLabel: 'network evaluations; hollow: RK45',
    yLabel: report.features === 'inception' ? 'FID' : `Frechet distance (${shortened(report.features)})`,
    logX: true,
    logY: wide([...points.map(([, y]) => y), ...(report.heldOut ? [report.heldOut.fd] : [])]),
    xTicks: [...new Set(points.map(([x]) => x))],
    references: report.heldOut ? [{ label: 'real images', y: report.heldOut.fd }] : [],
    width,
    height,
  });
  return required(drawing, join(folder, 'report.json'), 'has no distances');
}

/** Without the name of a classifier's file. */
function shortened(features: string): string {
  return features.startsWith('classifier') ? 'features of a classifier' : features;
}

const MEAN_OF = 25;

async function lossFigure(folder: string, { theme, width, height }: FigureStyle): Promise<Drawing> {
  const runs = await readRun(folder);
  const smoothed = (log: readonly { step: number; loss: number }[]) => {
    const points = log.map(({ step, loss }): Point => [step, loss]);
    return thin(smooth(points, Math.min(MEAN_OF, points.length)));
  };
  const [run] = runs;
  const series: Series[] =
    runs.length > 1
      ? runs.map(({ name, log }) => ({ label: name.replace(/^.*: /, ''), points: smoothed(log), markers: 'few' }))
      : [
          {
            label: 'each step',
            points: thin(run.log.map(({ step, loss }): Point => [step, loss])),
            pale: true,
            slot: 0,
          },
          { label: `mean of ${MEAN_OF} steps`, points: smoothed(run.log), markers: 'none', slot: 0 },
          {
            label: 'held-out images',
            points: thin(
              run.log.flatMap(({ step, evalLoss }): Point[] => (evalLoss === undefined ? [] : [[step, evalLoss]])),
              40,
            ),
            slot: 1,
          },
        ];
  const drawing = linePlot(
    series.filter(({ points }) => points.length > 0),
    {
      theme,
      title: '',
      xLabel: 'step',
      yLabel: runs.length > 1 ? `loss, mean of ${MEAN_OF} steps` : 'loss',
      logY: wide(series.flatMap(({ points }) => points.map(([, y]) => y))),
      width,
      height,
    },
  );
  return required(drawing, join(run.folder, 'log.jsonl'), 'has no logged step yet; train first');
}

function required(drawing: Drawing | undefined, path: string, what: string): Drawing {
  if (drawing === undefined) throw new FileError(path, what);
  return drawing;
}
