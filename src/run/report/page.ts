// The page of a report: what came out, pictures from the same noise, distance against evaluations, paths, losses, provenance.
import type { Config } from '../config/schema.ts';
import { figure, page, paragraph, row, section, table } from './html.ts';
import type { MeasuredFlow, SampledRow } from './measure.ts';
import { linePlot, type Series } from './svg.ts';

export function reportPage(flows: readonly MeasuredFlow[], figures: ReportFigures, config: Config): string {
  const { dataset } = config.data;
  return page(
    `Rectified flow on ${dataset}`,
    paragraph(introduction(flows)),
    section('What came out', ...summary(flows, figures)),
    section(
      'Samples from the same noise',
      ...flows.flatMap(({ flow, rows }) => [
        `<h3>${flow.name}</h3>`,
        row(...rows.map((sampled) => figure(sampled.picture, caption(sampled)))),
      ]),
    ),
    section(
      'Paths',
      paragraph(
        'Along 100 Euler steps, times 0, 0.2, ..., 1 from left to right, two rows a sample: Z_t, and below it where the path ' +
          'would end if it went straight on from there, Z_t + (1 - t) v(Z_t, t). Where paths are straight the lower row does not change.',
      ),
      row(...flows.map(({ flow, paths }) => figure(paths, flow.name))),
    ),
    ...(figures.features ? [section('Distance against evaluations', distancePlot(flows, figures.features))] : []),
    section('Training loss', ...flows.map(lossPlot)),
    section('How it was made', ...provenanceOf(flows, figures, config)),
  );
}

function introduction(flows: readonly MeasuredFlow[]): string {
  const [first] = flows;
  const parameters = first.parameters.toLocaleString('en');
  return (
    `A network of ${parameters} parameters learned the velocity that carries Gaussian noise (t = 0) to images (t = 1). ` +
    'Reflow trains the next flow on the pairs of noise and image of the one before, which straightens the paths; distillation ' +
    'then asks for the end of the path in few steps. Every picture below is from the same noise, which no stage was trained on.'
  );
}

function summary(flows: readonly MeasuredFlow[], { features, samples, heldOut }: ReportFigures): string[] {
  const samplers = flows[0].rows.map(({ sampler }) => sampler);
  const header = ['stage', 'updates', 'straightness', 'NFE of RK45', ...(features ? samplers.map(samplerName) : [])];
  const rows = flows.map(({ flow, steps, straightness, rows: sampled }) => [
    flow.name,
    steps,
    Number(straightness.toPrecision(3)),
    Number((sampled.at(-1) as SampledRow).nfe.toFixed(1)),
    ...(features ? sampled.map(({ distance }) => Number((distance as number).toPrecision(4))) : []),
  ]);
  const distilled = flows.find(({ flow }) => flow.distilledTo !== undefined);
  return [
    table(header, rows),
    paragraph(
      (features
        ? `Under each number of steps: the Frechet distance between ${samples} samples and the training images in the features ` +
          `"${features}"; ${heldOut?.images} real held-out images are at ${heldOut?.fd.toPrecision(4)}. ` +
          (features === 'inception' ? '' : 'It is no FID and compares only with distances in the same features. ')
        : 'No distances: the features or the data that they need were not there (see the notices of the run). ') +
        'Straightness is E||(Z_1 - Z_0) - v(Z_t, t)||^2, the mean over dimensions and 100 Euler steps; 0 is straight.' +
        (distilled
          ? ` A generator distilled to ${distilled.flow.distilledTo} is measured over the steps that it was made for (one step is ` +
            'straight by its nature) and was not trained at other times: its samples with other numbers of steps say little.'
          : ''),
    ),
  ];
}

function samplerName(sampler: string): string {
  if (sampler === 'rk45') return 'RK45';
  return `N = ${sampler}`;
}

function caption({ sampler, nfe, distance }: SampledRow): string {
  const name = sampler === 'rk45' ? `RK45, NFE ${nfe.toFixed(1)}` : samplerName(sampler);
  return distance === undefined ? name : `${name}: ${distance.toPrecision(4)}`;
}

function distancePlot(flows: readonly MeasuredFlow[], features: string): string {
  const series: Series[] = flows.map(({ flow, rows }) => ({
    label: flow.name,
    points: rows
      .filter(({ sampler }) => sampler !== 'rk45')
      .map(({ nfe, distance }) => [nfe, distance as number] as const),
  }));
  return linePlot(series, {
    title: `Frechet distance (${features})`,
    xLabel: 'Euler steps',
    xTicks: flows[0].rows.filter(({ sampler }) => sampler !== 'rk45').map(({ nfe }) => nfe),
    logX: true,
    yLabel: 'distance',
    logY: true,
  });
}

function lossPlot({ flow, losses }: MeasuredFlow): string {
  const points = losses.map(({ step, loss }) => [step, loss] as const);
  return linePlot(
    [
      { label: 'batch', points: thinned(points) },
      { label: 'mean of 25', points: thinned(smooth(points, 25)) },
    ],
    { title: flow.name, xLabel: 'step', yLabel: 'loss', height: 220 },
  );
}

/** Means of `width` successive values, at the last one's step. */
function smooth(points: readonly (readonly [number, number])[], width: number): [number, number][] {
  const means: [number, number][] = [];
  let sum = 0;
  points.forEach(([step, value], i) => {
    sum += value - (i >= width ? points[i - width][1] : 0);
    if (i >= width - 1) means.push([step, sum / width]);
  });
  return means;
}

/** At most a thousand, evenly chosen: more than that no plot shows. */
function thinned<T>(points: readonly T[]): T[] {
  const every = Math.ceil(points.length / 1000);
  return points.filter((_, i) => i % every === 0);
}

function provenanceOf(flows: readonly MeasuredFlow[], figures: ReportFigures, config: Config): string[] {
  const { version, revision, created, device, seed } = figures;
  return [
    table(
      ['what', 'value'],
      [
        ['version', `${version} (${revision})`],
        ['date', created],
        ['device', device],
        ['seed of the training', config.seed],
        ['seed of the samples', seed],
        ['data', config.data.dataset],
        ...flows.map(({ flow }) => [flow.name, flow.checkpoint]),
      ],
    ),
    `<details><summary>configuration</summary><pre>${JSON.stringify(config, null, 1).replaceAll('<', '&lt;')}</pre></details>`,
  ];
}

/** What report.json holds. */
export interface ReportFigures {
  version: string;
  revision: string;
  created: string;
  device: string;
  /** Of the samples' noise. */
  seed: number;
  /** Of each flow and number of steps. */
  samples: number;
  /** What the Frechet distances are of; absent where nothing could be scored. */
  features?: string;
  /** Of real held-out images: what no generator is expected to go below. */
  heldOut?: { images: number; fd: number };
  stages: StageFigures[];
}

export interface StageFigures {
  name: string;
  checkpoint: string;
  /** Updates done. */
  steps: number;
  straightness: number;
  /** Euler steps that it is the mean over. */
  straightness_steps: number;
  /** Frechet distance by number of Euler steps, and of rk45. */
  fd: Record<string, number>;
  /** Of rk45: evaluations of the network a sample. */
  nfe: number;
}
