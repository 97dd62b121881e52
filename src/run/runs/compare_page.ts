// The page of a comparison of runs.

import { packageVersion } from '../machine/provenance.ts';
import { describeDuration } from '../machine/resources.ts';
import { type LinePlotOptions, linePlot, type Point, pageTheme, type Series } from '../plot/index.ts';
import { figuresText } from '../report/figures.ts';
import { type Cell, htmlTable, page, paragraph, responsivePlot, section } from '../report/html.ts';
import { smooth, thin, wide } from '../report/plots.ts';
import type { LoggedStep } from '../workdir/log.ts';
import { distanceSeries } from './distance_series.ts';
import { type Comparison, lastLoss, progressOf, type RunFacts, samplersOf, secondsOf } from './read.ts';

/** Steps of the moving average of a loss. */
const MEAN_OF = 25;
/** Longest value of a key in a table. */
const LONGEST = 60;

export function comparisonPage(comparison: Comparison): string {
  const { runs, keys } = comparison;
  const names = runs.map(({ name }) => name);
  return page(`Comparison of ${runs.length === 1 ? '1 run' : `${runs.length} runs`}`, {
    intro: [],
    sections: [
      section('Results', results(comparison)),
      section('Changed keys', changedKeysTable(comparison, names)),
      section('Losses', ...losses(runs)),
      section('Straightness during training', straightness(runs)),
      section('Distance by evaluations', ...distances(runs)),
      section('How they were started', origins(runs)),
    ],
    footer:
      `rectiflow ${packageVersion()}, ${new Date().toISOString()}. ${keys.length === 0 ? 'The configurations are equal.' : ''}`.trim(),
  });
}

/** Cells of numbers, the lowest bold. */
function lowest(values: readonly (number | undefined)[]): Cell[] {
  const known = values.filter((value) => value !== undefined);
  const best = known.length > 1 ? Math.min(...known) : undefined;
  return values.map((value) => ({
    number: value === undefined ? '–' : figuresText(value),
    best: value !== undefined && value === best,
  }));
}

/** Keys that say what a loss measures: runs that differ in them have losses that cannot be compared. */
const OBJECTIVE = /^(data|reflow)\.|^training\.(time_|reduce_mean|likelihood)/;

function plain(values: readonly (number | undefined)[]): Cell[] {
  return values.map((value) => ({ number: value === undefined ? '–' : figuresText(value) }));
}

function results({ runs, keys }: Comparison): string {
  const sameLoss = !keys.some(({ path }) => OBJECTIVE.test(path));
  const lossCells = (values: readonly (number | undefined)[]) => (sameLoss ? lowest(values) : plain(values));
  const progress = runs.map(progressOf);
  const samplers = comparableScores(runs) ? samplersOf(runs) : [];
  const columns: [string, Cell[]][] = [
    ['steps', progress.map(({ steps }, i) => ({ number: `${steps} of ${runs[i].config.training.n_iters + 1}` }))],
    ['loss', lossCells(runs.map(lastLoss))],
    ['held-out loss', lossCells(progress.map(({ evalLoss }) => evalLoss))],
    ['straightness', lowest(runs.map((run, i) => run.figures?.straightness ?? progress[i].straightness))],
    ...samplers.map((sampler): [string, Cell[]] => [
      sampler === 'rk45' ? 'RK45' : `N = ${sampler}`,
      lowest(runs.map(({ figures }) => figures?.fd[sampler])),
    ]),
    [
      'images/s',
      progress.map(({ imagesPerSecond: speed }) => ({ number: speed === undefined ? '–' : figuresText(speed) })),
    ],
    ['time', runs.map((run) => ({ number: time(secondsOf(run)) }))],
  ];
  const features = runs.find(({ report }) => report?.features)?.report?.features;
  const explained =
    samplers.length > 0 ? ` The columns N and RK45 are the Frechet distances of their reports (${features}).` : '';
  return (
    htmlTable(
      'Lower is better for losses, straightness and distances; the best is bold.',
      ['run', ...columns.map(([title]) => title)],
      runs.map(({ name }, i) => [name, ...columns.map(([, cells]) => cells[i])]),
    ) +
    paragraph(
      `The loss is the mean over the last 50 steps.${sameLoss ? '' : ' These runs minimise different losses, which cannot be compared.'}${explained}`,
    )
  );
}

function time(seconds: number | undefined): string {
  return seconds === undefined ? '–' : describeDuration(seconds);
}

/** Whether the reports of the runs that have one scored them in the same features of the same number of samples. */
function comparableScores(runs: readonly RunFacts[]): boolean {
  const kinds = runs.flatMap(({ report }) => (report?.features ? [`${report.features} ${report.samples}`] : []));
  return kinds.length > 0 && new Set(kinds).size === 1;
}

function changedKeysTable({ runs, keys }: Comparison, names: readonly string[]): string {
  if (runs.length === 1) return '';
  if (keys.length === 0) return paragraph('The configurations are equal.');
  return htmlTable(
    'Keys in which the configurations differ',
    ['key', ...names],
    keys.map(({ path, values }) => [path, ...values.map(literal)]),
  );
}

function literal(value: unknown): string {
  const text = value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text || '""';
}

type Figure = 'loss' | 'evalLoss' | 'straightness';

function seriesOf(runs: readonly RunFacts[], figure: Figure): Series[] {
  return runs.flatMap(({ name, log }, slot) => {
    const points = log.flatMap((step: LoggedStep): Point[] => {
      const value = step[figure];
      return value === undefined ? [] : [[step.step, value]];
    });
    if (points.length === 0) return [];
    const shown = figure === 'loss' ? thin(smooth(points, Math.min(MEAN_OF, points.length))) : thin(points, 60);
    return [{ label: name, points: shown, markers: shown.length > 20 ? 'few' : 'all', slot }];
  });
}

function overlay(runs: readonly RunFacts[], figure: Figure, words: Pick<LinePlotOptions, 'title' | 'yLabel'>): string {
  const series = seriesOf(runs, figure);
  if (series.length === 0) return '';
  const logY = wide(series.flatMap(({ points }) => points.map(([, y]) => y)));
  return responsivePlot((width) =>
    linePlot(series, { theme: pageTheme, xLabel: 'step', logY, width, height: 300, ...words }),
  );
}

function losses(runs: readonly RunFacts[]): string[] {
  return [
    overlay(runs, 'loss', { title: 'Training loss', yLabel: `loss, mean of ${MEAN_OF} steps` }),
    overlay(runs, 'evalLoss', { title: 'Loss of held-out images', yLabel: 'loss' }),
  ];
}

function straightness(runs: readonly RunFacts[]): string {
  return overlay(runs, 'straightness', {
    title: 'Straightness',
    yLabel: 'deviation from straight paths; 0 is straight',
  });
}

function distances(runs: readonly RunFacts[]): string[] {
  const scored = runs.filter(({ figures }) => figures && Object.keys(figures.fd).length > 0);
  if (scored.length === 0) return [];
  if (!comparableScores(runs))
    return [
      paragraph(
        'The reports of these runs have distances in different features or of different numbers of samples, which cannot be compared.',
      ),
    ];
  const series = scored.flatMap((run) => {
    const slot = runs.indexOf(run);
    return distanceSeries(run.figures ? [run.figures] : []).map((one) => ({ ...one, label: run.name, slot }));
  });
  const fd = scored.find(({ report }) => report?.heldOut)?.report?.heldOut?.fd;
  const values = series.flatMap(({ points }) => points.map(([, y]) => y));
  return [
    responsivePlot((width) =>
      linePlot(series, {
        theme: pageTheme,
        title: 'Quality against cost',
        xLabel: 'evaluations per sample; hollow: RK45',
        yLabel: 'Frechet distance; lower is better',
        logX: true,
        logY: wide(values),
        references: fd === undefined ? [] : [{ label: 'real images', y: fd }],
        width,
        height: 320,
      }),
    ),
  ];
}

/** "2026-11-09T08:05:59.123Z" as "2026-11-09 08:05". */
function minute(time: unknown): string {
  return String(time).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):.*$/, '$1 $2');
}

function origins(runs: readonly RunFacts[]): string {
  return htmlTable(
    'The first session of each run, and how many there were',
    ['run', 'folder', 'command', 'begun (UTC)', 'revision', 'machine', 'sessions'],
    runs.map(({ name, folder, sessions }) => {
      const [first] = sessions;
      const command = Array.isArray(first?.command) ? first.command.map(String).join(' ') : '–';
      return [
        name,
        folder,
        command,
        first === undefined ? '–' : minute(first.started),
        first?.revision ?? '–',
        first?.host ?? '–',
        String(sessions.length),
      ];
    }),
  );
}
