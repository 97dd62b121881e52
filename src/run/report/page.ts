// The page of a report on images. Sections without content are left out, so that it fits a chain, a single run and a run
// that has just begun.
import { arch, cpus, platform } from 'node:os';
import type { Config } from '../config/types.ts';
import { type Drawing, inlineSvg } from '../plot/index.ts';
import { isTransfer } from '../source.ts';
import type { LoggedStep } from '../workdir/log.ts';
import { count, duration, figuresText, mean, percent, plural, type ReportFigures, size } from './figures.ts';
import {
  type Cell,
  figure,
  htmlTable,
  notice,
  type Picture,
  page,
  panel,
  panels,
  paragraph,
  responsivePlot,
  type Section,
  section,
  small,
  termList,
  tiles,
} from './html.ts';
import { type MeasuredFlow, type ReportedFlow, type SampledRow, samplerName } from './measure.ts';
import { distancePlot, isMeant, lossPlot, straightnessPlot } from './plots.ts';
import type { ReportedStage } from './repeat.ts';
import {
  captionWords,
  describeFlow,
  distanceName,
  explainDistance,
  explainReading,
  highlights,
  introduction,
  startWords,
  timeTile,
  titleOf,
} from './words.ts';

/** A flow with its log, and what was measured of it if it has a snapshot. */
export interface FlowResult {
  flow: ReportedFlow;
  log: LoggedStep[];
  measured?: MeasuredFlow;
}

export interface StageCost extends ReportedStage {
  imagesPerSecond?: number;
  bytes?: number;
}

export interface ReportPage {
  results: readonly FlowResult[];
  figures: ReportFigures;
  /** How the report was measured. */
  config: Config;
  /** Real images that no network was trained on, if the data set is at hand. */
  real?: Picture;
  /** The section of a domain transfer. */
  transfer?: Section;
  stages: readonly StageCost[];
  /** Price of an hour of the machine. */
  price?: number;
  repeat?: Section;
}

export function reportPage(report: ReportPage): string {
  const { results, figures, config, stages } = report;
  const measured = results.flatMap((result) => result.measured ?? []);
  const flows = results.map(({ flow }) => flow);
  return page(titleOf(config), {
    intro: [
      paragraph(introduction(flows, measured[0]?.parameters, config)),
      flows.length > 1 || flows[0].source === 'pairs' ? termList(flows.map(describeFlow)) : '',
      notice(...progressNotes(results, stages)),
      tiles([...highlights(measured, figures), ...timeTile(stages)]),
      figures.features
        ? small(`${distanceName(figures.features)}: how far samples are from the training images; smaller is better.`)
        : '',
    ],
    sections: [
      section('Samples', ...samplesOf(measured, report)),
      ...(report.transfer ? [report.transfer] : []),
      section('Quality and speed', ...qualityOf(measured, figures)),
      section('Paths', ...pathsOf(measured, config)),
      section('Training', ...trainingOf(results)),
      section('Time and cost', ...costsOf(report)),
      ...(report.repeat ? [report.repeat] : []),
      section('Provenance', provenanceTable(figures, config, measured)),
    ],
    footer: `Written by rectiflow ${figures.version} on ${figures.created.slice(0, 16).replace('T', ' ')} UTC.`,
  });
}

/** What is not finished, and when samples follow. */
function progressNotes(results: readonly FlowResult[], stages: readonly ReportedStage[]): string[] {
  const notes = results.flatMap(({ flow, log, measured }) => {
    const { n_iters, snapshot_freq } = flow.config.training;
    const [done, total] = [(log.at(-1)?.step ?? -1) + 1, n_iters + 1];
    if (done >= total || log.length === 0) return [];
    const progress = `The ${flow.name} is not finished: ${count(done)} of ${plural(total, 'update')}.`;
    const shown = measured
      ? `Its samples come from the snapshot after ${plural(measured.steps, 'update')}.`
      : `It has no snapshot to sample from yet; one follows ${n_iters <= snapshot_freq || stages.length > 1 ? 'at its end' : `every ${plural(snapshot_freq, 'update')}`}.`;
    return [`${progress} ${shown}`];
  });
  const waiting = stages.filter(({ state }) => state === 'not begun').map(({ name }) => name);
  if (waiting.length > 0) notes.push(`Still to run: ${waiting.join(', ')}.`);
  return notes;
}

function samplesOf(flows: readonly MeasuredFlow[], { figures, real, config }: ReportPage): string[] {
  if (flows.length === 0) return [];
  const metric = figures.features === 'inception' ? 'FID' : 'distance';
  const detail = ({ sampler, nfe, distance, read }: SampledRow) =>
    [
      ...(sampler === 'rk45' ? [`${mean(nfe)} evaluations`] : []),
      ...(distance === undefined ? [] : [`${metric} ${figuresText(distance)}`]),
      ...(read === undefined ? [] : [`${percent(read)} read right`]),
    ].join(', ');
  const block = ({ flow, rows }: MeasuredFlow) =>
    panel(
      flow.name,
      ...rows
        .filter(({ sampler }) => isMeant(flow, sampler))
        .map((row) => figure(row.picture, samplerName(row.sampler), detail(row))),
    );
  const strips = flows.flatMap(({ flow, rows }) => rows.filter(({ sampler }) => isMeant(flow, sampler))).length;
  // Blocks of one strip share the last column.
  const last = [
    ...flows.filter(({ flow }) => flow.distilledTo !== undefined).map(block),
    ...(real ? [panel('Real images, to compare', figure(real, 'not used for training'))] : []),
  ];
  return [
    paragraph(
      (strips > 1
        ? `Images in the same place come from the same ${startWords(config)}, which no network was trained on, so they can be compared ` +
          'from row to row.'
        : `Each image starts from ${isTransfer(config) ? 'a held-out image of the source' : 'noise'} that the network was not trained on.`) +
        ' Click a picture to enlarge it; arrow keys turn to the next.',
    ),
    ...(figures.captions ? [paragraph(captionWords(figures.captions))] : []),
    panels(
      ...flows.filter(({ flow }) => flow.distilledTo === undefined).map(block),
      last.length > 0 ? `<div>${last.join('\n')}</div>` : '',
    ),
  ];
}

function qualityOf(flows: readonly MeasuredFlow[], figures: ReportFigures): string[] {
  if (flows.length === 0) return [];
  const steps = flows.map(({ steps }) => ({ number: count(steps) }));
  const deviations = flows.map(({ straightness }) => ({ number: figuresText(straightness) }));
  const adaptive = flows.some(({ flow }) => isMeant(flow, 'rk45'));
  const evaluations = flows.map(({ flow, rows }) => ({
    number: isMeant(flow, 'rk45') ? mean((rows.at(-1) as SampledRow).nfe) : '–',
  }));
  const samplers = [...new Set(flows.flatMap(({ rows }) => rows.map(({ sampler }) => sampler)))];
  const metric = figures.features && (figures.features === 'inception' ? 'FID' : 'Distance');
  const distances = samplers.map((sampler): Cell[] => {
    const values = flows.map(({ flow, rows }) =>
      isMeant(flow, sampler) ? rows.find((row) => row.sampler === sampler)?.distance : undefined,
    );
    const known = values.filter((value) => value !== undefined);
    const best = known.length > 1 ? Math.min(...known) : undefined;
    const cells = values.map((value) => ({
      number: value === undefined ? '–' : figuresText(value),
      best: value === best && best !== undefined,
    }));
    return [`${metric}, ${samplerName(sampler)}`, ...cells];
  });
  const readings = samplers.flatMap((sampler): Cell[][] => {
    const values = flows.map(({ flow, rows }) =>
      isMeant(flow, sampler) ? rows.find((row) => row.sampler === sampler)?.read : undefined,
    );
    const known = values.filter((value) => value !== undefined);
    if (known.length === 0) return [];
    const best = known.length > 1 ? Math.max(...known) : undefined;
    const cells = values.map((value) => ({
      number: value === undefined ? '–' : percent(value),
      best: value === best && best !== undefined,
    }));
    return [[`Caption read right, ${samplerName(sampler)}`, ...cells]];
  });
  const scored =
    metric === undefined
      ? []
      : distances.filter((row) => row.slice(1).some((cell) => (cell as { number: string }).number !== '–'));
  const distilled = flows.find(({ flow }) => flow.distilledTo !== undefined)?.flow;
  return [
    // A generator with a single number of steps would be a plot of one point.
    ...(metric && adaptive ? [responsivePlot((width) => distancePlot(flows, figures, width))] : []),
    htmlTable(
      flows.length === 1 ? 'Figures of the flow' : `Figures of each flow${metric ? '; the best of a row is bold' : ''}`,
      ['measure', ...flows.map(({ flow }) => flow.name)],
      [
        ['Updates in training', ...steps],
        ['Straightness', ...deviations],
        ...(adaptive ? [['Evaluations per sample with RK45', ...evaluations]] : []),
        ...scored,
        ...readings,
      ],
    ),
    paragraph(explainDistance(figures)),
    ...(figures.reader ? [paragraph(explainReading(figures.reader.accuracy))] : []),
    paragraph(
      'Straightness: how much the velocity along a path differs from the straight line between its ends, ' +
        'E||(Z_1 - Z_0) - v(Z_t, t)||^2, the mean over dimensions and ' +
        `${plural(flows[0].straightnessSteps, 'Euler step')}; 0 is straight.` +
        (adaptive ? ' RK45 chooses its own steps, up to a tolerance.' : ''),
    ),
    ...(distilled?.distilledTo === undefined
      ? []
      : [
          paragraph(
            `A generator distilled to ${plural(distilled.distilledTo, 'step')} is shown with as many alone, because it was not ` +
              'trained at other times' +
              (distilled.distilledTo === 1
                ? '; a single step is always straight.'
                : ', and its straightness is the mean over these.'),
          ),
        ]),
  ];
}

function pathsOf(flows: readonly MeasuredFlow[], config: Config): string[] {
  const shown = flows.filter(({ flow }) => flow.distilledTo === undefined);
  if (shown.length === 0) return [];
  return [
    paragraph(
      `From ${isTransfer(config) ? 'an image of the source' : 'noise'} at the left (t = 0) to an image at the right (t = 1). Each path has two rows: where it is at that time, ` +
        'and below it where a straight line from there would end, Z_t + (1 - t) v(Z_t, t). If a path is straight, its lower ' +
        'row is the same image everywhere.',
    ),
    panels(...shown.map(({ flow, paths }) => figure(paths, flow.name, 't = 0, 0.2, ..., 1'))),
  ];
}

function trainingOf(results: readonly FlowResult[]): string[] {
  const plots = results.flatMap(({ flow, log }) => [lossPlot(flow.name, log), straightnessPlot(flow.name, log)]);
  const drawn = plots.filter((plot): plot is Drawing => plot !== undefined);
  if (drawn.length === 0) return [];
  return [
    paragraph(
      (results.some(({ flow }) => flow.source === 'data')
        ? 'The loss is the squared error of the velocity, the mean over dimensions. Learned from the data set, it does not ' +
          'fall to 0, because paths to different images cross. '
        : 'Lower is better. ') +
        (results.length > 1
          ? 'Losses of different flows are not comparable: each learns from pairs of its own. '
          : '') +
        'Pale: each step; bold: their mean.',
    ),
    panels(...drawn.map(inlineSvg)),
  ];
}

function costsOf({ stages, price, results }: ReportPage): string[] {
  if (stages.length === 0) return [];
  const priced = price !== undefined;
  const missing = stages.some(({ seconds, state }) => seconds === undefined && state !== 'not begun');
  const number = (value: number | undefined, text: (value: number) => string): Cell => ({
    number: value === undefined ? '–' : text(value),
  });
  const cells = (stage: Omit<StageCost, 'path'>): Cell[] => [
    stage.name,
    stage.state === 'not begun' ? { number: 'not begun' } : number(stage.seconds, duration),
    number(stage.imagesPerSecond, figuresText),
    number(stage.bytes, size),
    ...(priced ? [number(stage.seconds, (seconds) => ((seconds / 3600) * price).toFixed(2))] : []),
  ];
  const sum = (values: readonly (number | undefined)[]) => values.reduce((all: number, value) => all + (value ?? 0), 0);
  const total = {
    name: 'total',
    state: 'complete' as const,
    seconds: sum(stages.map(({ seconds }) => seconds)),
    bytes: sum(stages.map(({ bytes }) => bytes)),
  };
  return [
    htmlTable(
      'Measured time and disk of each stage',
      ['stage', 'time', 'images per second', 'disk', ...(priced ? [`cost at ${price} an hour`] : [])],
      [...stages.map(cells), ...(stages.length > 1 ? [cells(total)] : [])],
    ),
    paragraph(
      'The time of training is the sum of its steps' +
        (stages.length > results.length ? ', or that of the whole stage if the chain recorded more' : '') +
        '.' +
        (missing ? ' A dash: nothing recorded that time.' : '') +
        (priced ? '' : ' rectiflow report --price N adds costs, at N per hour of the machine.'),
    ),
  ];
}

/** Processor, system and Node.js, without anything that names the machine. */
function machine(): string {
  const processor = cpus()[0]?.model.trim();
  return [...(processor ? [processor] : []), `${platform()} ${arch()}`, `Node.js ${process.versions.node}`].join(', ');
}

function provenanceTable(figures: ReportFigures, config: Config, flows: readonly MeasuredFlow[]): string {
  const { version, revision, created, device, seed } = figures;
  return htmlTable(
    'What this page was made from',
    ['what', 'value'],
    [
      ['Version', `${version} (${revision})`],
      ['Date', created],
      ['Machine', machine()],
      ['Device', device],
      ['Data set', config.data.dataset],
      ...(isTransfer(config) ? [['Source', config.source.dataset]] : []),
      ['Seed of the training', String(config.seed)],
      ['Seed of the samples', String(seed)],
      ...flows.map(({ flow }) => [`Snapshot, ${flow.name}`, flow.checkpoint]),
    ],
  );
}
