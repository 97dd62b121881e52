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
import { htmlTable, page, paragraph, row, section } from './html.ts';
import type { ReportFigures } from './page.ts';
import { pathPlot } from './svg.ts';

const EULER_STEPS = [1, 2, 4, 10, 100];
const PATHS = 200;
const PATH_STEPS = 100;

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
 */
export async function reportPlane(flows: readonly PlaneFlow[], options: PlaneReportOptions): Promise<ReportFigures> {
  checkArgument('reportPlane', 'flows', flows, flowsKind);
  if (flows.length === 0) throw new ValueError('[reportPlane] expected at least one flow, got none');
  const required = ['out', 'title', 'data', 'device'] as const;
  const { out, title, data, seed = 1, device, signal } = checkOptions('reportPlane', options, optionKinds, required);
  const count = data.length / 2;
  const common = { shape: [2], seed, epsilon: 0, device, signal };
  const plots: string[] = [];
  const stages: ReportFigures['stages'] = [];
  for (const { name, velocity, steps } of flows) {
    const fd: Record<string, number> = {};
    for (const N of EULER_STEPS) {
      const { samples } = await sample(velocity, { ...common, count, solver: 'euler', steps: N });
      fd[N] = energyDistance(samples, data, 2);
    }
    const { samples, nfe } = await sample(velocity, { ...common, count, solver: 'rk45', tolerance: 1e-5 });
    fd.rk45 = energyDistance(samples, data, 2);
    const straight = await straightness(velocity, { ...common, count, steps: PATH_STEPS });
    const { points } = await trajectory(velocity, {
      ...common,
      count: PATHS,
      steps: PATH_STEPS,
      stops: PATH_STEPS / 4,
    });
    plots.push(pathPlot(points, { title: name, background: data.subarray(0, 2000) }));
    const figures = { straightness: straight.straightness, straightness_steps: PATH_STEPS, fd, nfe };
    stages.push({ name, checkpoint: '', steps, ...figures });
  }
  const figures: ReportFigures = {
    ...provenance(),
    created: new Date().toISOString(),
    device: device.description,
    seed,
    samples: count,
    features: 'points',
    stages,
  };
  makeFolder(out);
  await writeFileAtomic(join(out, 'report.html'), [Buffer.from(planePage(title, plots, figures))]);
  await writeJson(join(out, 'report.json'), figures);
  return figures;
}

function planePage(title: string, plots: readonly string[], { stages, samples, ...made }: ReportFigures): string {
  const samplers = Object.keys(stages[0].fd);
  return page(
    title,
    section(
      'Paths',
      paragraph(
        `Paths from ${PATHS} start points (hollow), the same for every flow, to their ends (filled), over data points (grey).`,
      ),
      row(...plots),
    ),
    section(
      'Results',
      htmlTable(
        [
          'flow',
          'updates',
          'straightness',
          'NFE of RK45',
          ...samplers.map((N) => (N === 'rk45' ? 'RK45' : `N = ${N}`)),
        ],
        stages.map(({ name, steps, straightness, nfe, fd }) => [
          name,
          steps,
          ...[straightness, nfe, ...samplers.map((N) => fd[N])].map((value) => Number(value.toPrecision(3))),
        ]),
      ),
      paragraph(
        `The columns per number of steps give the energy distance between ${samples} samples and as many data points, which is 0 ` +
          'for equal distributions. Straightness is E||(Z_1 - Z_0) - v(Z_t, t)||^2, the mean over both coordinates; 0 means straight.',
      ),
    ),
    section(
      'Provenance',
      htmlTable(
        ['what', 'value'],
        [
          ['version', `${made.version} (${made.revision})`],
          ['date', made.created],
          ['device', made.device],
          ['seed of the start points', made.seed],
        ],
      ),
    ),
  );
}
