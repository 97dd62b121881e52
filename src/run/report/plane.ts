// The report on flows in the plane: plots of their paths, and the same figures as for images, all from the same start
// points.
import { join } from 'node:path';
import { checkArgument, checkOptions, kind, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { energyDistance, sample, straightness, trajectory, type Velocity } from '../../flow/index.ts';
import { makeFolder } from '../../io/file.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { runOptions } from '../arguments.ts';
import { provenance } from '../machine/provenance.ts';
import { type Drawing, inlineSvg, linePlot, pageTheme, pathPlot, reachOf } from '../plot/index.ts';
import { count, figuresText, mean, type ReportFigures } from './figures.ts';
import { type Cell, htmlTable, NARROW, page, panels, paragraph, responsivePlot, section } from './html.ts';
import { samplerName } from './measure.ts';

const EULER_STEPS = [1, 2, 4, 10, 100];
const PATHS = 200;
const PATH_STEPS = 100;
/** The file next to the page that holds the paths, for figures: the points of all paths at each time, [x, y, x, y, ...]. */
export const PLANE_PATHS_FILE = 'paths.json';
/** Data points drawn behind the paths. */
const BACKGROUND = 1000;

export interface PlaneFlow {
  name: string;
  /** Maps (x [N, 2], t [N]) to [N, 2]. */
  velocity: Velocity;
  /** Number of updates. */
  steps: number;
}

export interface PlaneReportOptions {
  /** Folder for report.html and report.json. */
  out: string;
  title: string;
  /** Points of the target distribution, f32 [M, 2], other than the training points. */
  data: Float32Array;
  /** Seed of the start points; default 1. */
  seed?: number;
  device: Device;
  signal?: AbortSignal;
}

const optionKinds: OptionKinds<PlaneReportOptions> = {
  out: kinds.path,
  title: kinds.text,
  data: kind(
    'points, a Float32Array [M, 2]',
    (v) => kinds.float32.accepts(v) && (v as Float32Array).length >= 2 && (v as Float32Array).length % 2 === 0,
  ),
  seed: kinds.whole,
  device: runOptions.device,
  signal: runOptions.signal,
};
const flowsKind = listOf(
  kind('a flow', (value) => {
    if (!kinds.object.accepts(value)) return false;
    const { name, velocity, steps } = value as PlaneFlow;
    return typeof name === 'string' && typeof velocity === 'function' && typeof steps === 'number';
  }),
  'flows { name, velocity, steps }',
);

/**
 * Writes the report.
 * @returns the contents of report.json, where `fd` is the energy distance between the data and as many samples
 * @throws FileError for a folder that cannot be written; the signal's reason when aborted
 * @example
 * const network = new MLP([3, 32, 2]);
 * const velocity = (x, t) => network.forward(concat([x, reshape(t, [-1, 1])], 1));
 * const figures = await reportPlane([{ name: 'untrained', velocity, steps: 0 }], {
 *   out: 'report',
 *   title: 'Two moons',
 *   data: samplePoints('two_moons', 100, 1),
 *   device: await openDevice('cpu'),
 * });
 * Object.keys(figures.stages[0].fd); // ['1', '2', '4', '10', '100', 'rk45']
 */
export async function reportPlane(flows: readonly PlaneFlow[], options: PlaneReportOptions): Promise<ReportFigures> {
  checkArgument('reportPlane', 'flows', flows, flowsKind);
  if (flows.length === 0) throw new ValueError('[reportPlane] expected at least one flow, got none');
  const required = ['out', 'title', 'data', 'device'] as const;
  const { out, title, data, seed = 1, device, signal } = checkOptions('reportPlane', options, optionKinds, required);
  const total = data.length / 2;
  const common = { shape: [2], seed, epsilon: 0, device, signal };
  const paths: { name: string; points: Float32Array[] }[] = [];
  const stages: ReportFigures['stages'] = [];
  for (const { name, velocity, steps } of flows) {
    const fd: Record<string, number> = {};
    for (const N of EULER_STEPS) {
      const { samples } = await sample(velocity, { ...common, count: total, solver: 'euler', steps: N });
      fd[N] = energyDistance(samples, data, 2);
    }
    const { samples, nfe } = await sample(velocity, { ...common, count: total, solver: 'rk45', tolerance: 1e-5 });
    fd.rk45 = energyDistance(samples, data, 2);
    const straight = await straightness(velocity, { ...common, count: total, steps: PATH_STEPS });
    const { points } = await trajectory(velocity, {
      ...common,
      count: PATHS,
      steps: PATH_STEPS,
      stops: PATH_STEPS / 4,
    });
    paths.push({ name, points });
    const figures = { straightness: straight.straightness, straightness_steps: PATH_STEPS, fd, nfe };
    stages.push({ name, checkpoint: '', steps, ...figures });
  }
  const figures: ReportFigures = {
    ...provenance(),
    created: new Date().toISOString(),
    device: `${device.name}, ${device.description}`,
    seed,
    samples: total,
    features: 'points',
    stages,
  };
  makeFolder(out);
  await writeFileAtomic(join(out, 'report.html'), [
    Buffer.from(planePage(title, pathPlots(paths, data.subarray(0, 2 * BACKGROUND)), figures)),
  ]);
  await writeJson(join(out, 'report.json'), figures);
  const rounded = (values: Float32Array) => Array.from(values, (value) => Number(value.toPrecision(5)));
  await writeJson(join(out, PLANE_PATHS_FILE), {
    flows: paths.map(({ name, points }) => ({ name, points: points.map(rounded) })),
    data: rounded(data.subarray(0, 2 * BACKGROUND)),
  });
  return figures;
}

/** The paths of each flow, with the same axes. */
function pathPlots(flows: readonly { name: string; points: Float32Array[] }[], background: Float32Array): string[] {
  const reach = reachOf(background, ...flows.flatMap(({ points }) => points));
  return flows.map(({ name, points }) =>
    inlineSvg(pathPlot(points, { theme: pageTheme, title: name, background, reach, size: NARROW })),
  );
}

function planePage(title: string, plots: readonly string[], figures: ReportFigures): string {
  const { stages, samples, version, revision, created, device, seed } = figures;
  const samplers = Object.keys(stages[0].fd);
  const distances = samplers.map((sampler): Cell[] => {
    const values = stages.map(({ fd }) => fd[sampler]);
    const best = stages.length > 1 ? Math.min(...values) : undefined;
    return [
      `Energy distance, ${samplerName(sampler)}`,
      ...values.map((value) => ({ number: figuresText(value), best: value === best })),
    ];
  });
  return page(title, {
    intro: [
      paragraph(
        'A rectified flow moves points of noise along paths until they are distributed like the data. Where paths are ' +
          'straight, few steps suffice, and a step is what a generator costs.',
      ),
    ],
    sections: [
      section(
        'Paths',
        paragraph(
          `Paths from ${PATHS} start points (hollow circles), the same for every flow, to their ends (filled), over data ` +
            'points (grey).',
        ),
        panels(...plots),
      ),
      section(
        'Quality and speed',
        responsivePlot((width) => distancePlot(figures, width)),
        htmlTable(
          stages.length > 1 ? 'Figures of each flow; the best of a row is bold' : 'Figures of the flow',
          ['measure', ...stages.map(({ name }) => name)],
          [
            ['Updates in training', ...stages.map(({ steps }) => ({ number: count(steps) }))],
            ['Straightness', ...stages.map(({ straightness }) => ({ number: figuresText(straightness) }))],
            ['Evaluations per sample with RK45', ...stages.map(({ nfe }) => ({ number: mean(nfe) }))],
            ...distances,
          ],
        ),
        paragraph(
          `Energy distance: how far ${count(samples)} samples are, as a group, from as many data points; 0 for equal ` +
            'distributions. Straightness: how much the velocity along a path differs from the straight line between its ' +
            'ends, E||(Z_1 - Z_0) - v(Z_t, t)||^2, the mean over both coordinates; 0 is straight. RK45 chooses its own steps.',
        ),
      ),
      section(
        'Provenance',
        htmlTable(
          'What this page was made from',
          ['what', 'value'],
          [
            ['Version', `${version} (${revision})`],
            ['Date', created],
            ['Device', device],
            ['Seed of the start points', String(seed)],
          ],
        ),
      ),
    ],
    footer: `Written by rectiflow ${version} on ${created.slice(0, 16).replace('T', ' ')} UTC.`,
  });
}

function distancePlot({ stages }: ReportFigures, width: number): Drawing | undefined {
  const series = stages.map(({ name, fd, nfe }) => ({
    label: name,
    points: EULER_STEPS.map((steps) => [steps, fd[steps]] as const),
    extra: [{ at: [nfe, fd.rk45] as const, label: 'RK45' }],
  }));
  return linePlot(series, {
    theme: pageTheme,
    title: 'Quality against cost',
    xLabel: 'evaluations per sample; hollow: RK45',
    yLabel: 'energy distance; lower is better',
    logX: true,
    logY: true,
    xTicks: EULER_STEPS,
    width,
    height: 330,
  });
}
