// The page of a report: results, samples from the same noise, paths, distance against evaluations, losses and
// provenance.
import type { Config } from '../config/types.ts';
import { figure, htmlTable, page, paragraph, row, section } from './html.ts';
import type { MeasuredFlow, SampledRow } from './measure.ts';
import { linePlot, type Series } from './svg.ts';

export function reportPage(flows: readonly MeasuredFlow[], figures: ReportFigures, config: Config): string {
  const { dataset } = config.data;
  return page(
    `Rectified flow on ${dataset}`,
    paragraph(introduction(flows)),
    section('Results', ...summary(flows, figures)),
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
        'Paths of 100 Euler steps at times 0, 0.2, ..., 1 from left to right, with two rows per sample: Z_t, and below it where ' +
          'a straight path from there would end, Z_t + (1 - t) v(Z_t, t). If a path is straight, its lower row does not change.',
      ),
      row(...flows.map(({ flow, paths }) => figure(paths, flow.name))),
    ),
    ...(figures.features ? [section('Distance against evaluations', distancePlot(flows, figures.features))] : []),
    section('Training loss', ...flows.map(lossPlot)),
    section('Provenance', ...provenanceOf(flows, figures, config)),
  );
}

function introduction(flows: readonly MeasuredFlow[]): string {
  const [first] = flows;
  const parameters = first.parameters.toLocaleString('en');
  return (
    `A network of ${parameters} parameters learned the velocity that carries Gaussian noise (t = 0) to images (t = 1). ` +
    'Reflow trains the next flow on pairs of noise and image from the flow before, which straightens the paths; distillation ' +
    'then trains a generator to reach the end of the path in few steps. All samples below start from the same noise, which no ' +
    'stage was trained on.'
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
    htmlTable(header, rows),
    paragraph(
      (features
        ? `The columns per number of steps give the Frechet distance between ${samples} samples and the training images in the ` +
          `features "${features}"; that of ${heldOut?.images} real held-out images is ${heldOut?.fd.toPrecision(4)}. ` +
          (features === 'inception' ? '' : 'This is not an FID; compare it only with distances in the same features. ')
        : 'There are no distances, because their features or data were not available (see the notices of the run). ') +
        'Straightness is E||(Z_1 - Z_0) - v(Z_t, t)||^2, the mean over dimensions and 100 Euler steps; 0 means straight.' +
        (distilled
          ? ` For the generator distilled to ${distilled.flow.distilledTo}, it is the mean over the steps of its schedule (a single ` +
            'step is always straight). The generator was not trained at other times, so its results with other numbers of steps ' +
            'mean little.'
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
      { label: 'batch', points: thin(points) },
      { label: 'mean of 25', points: thin(smooth(points, 25)) },
    ],
    { title: flow.name, xLabel: 'step', yLabel: 'loss', height: 220 },
  );
}

/** Moving averages of `width` values, each at the step of its last value. */
function smooth(points: readonly (readonly [number, number])[], width: number): [number, number][] {
  const means: [number, number][] = [];
  let sum = 0;
  points.forEach(([step, value], i) => {
    sum += value - (i >= width ? points[i - width][1] : 0);
    if (i >= width - 1) means.push([step, sum / width]);
  });
  return means;
}

/** At most a thousand evenly spaced points, more than a plot can resolve. */
function thin<T>(points: readonly T[]): T[] {
  const every = Math.ceil(points.length / 1000);
  return points.filter((_, i) => i % every === 0);
}

function provenanceOf(flows: readonly MeasuredFlow[], figures: ReportFigures, config: Config): string[] {
  const { version, revision, created, device, seed } = figures;
  return [
    htmlTable(
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

/** The contents of report.json. */
export interface ReportFigures {
  version: string;
  revision: string;
  created: string;
  device: string;
  /** Seed of the samples' noise. */
  seed: number;
  /** Number of samples for each flow and number of steps. */
  samples: number;
  /** Features of the Frechet distances; absent if samples were not scored. */
  features?: string;
  /** Distance of real held-out images, the lowest that a generator can be expected to reach. */
  heldOut?: { images: number; fd: number };
  stages: StageFigures[];
}

export interface StageFigures {
  name: string;
  checkpoint: string;
  /** Number of updates. */
  steps: number;
  straightness: number;
  /** Number of Euler steps that straightness is averaged over. */
  straightness_steps: number;
  /** Frechet distance by number of Euler steps, and for "rk45". */
  fd: Record<string, number>;
  /** Network evaluations per sample of rk45. */
  nfe: number;
}
