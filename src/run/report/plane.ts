// The report of flows in the plane: their paths as they are, and the same figures as for images, from the same starts.
import { join } from 'node:path';
import { checkArgument, checkOptions, kind, kinds, listOf, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { ValueError } from '../../errors.ts';
import { energyDistance, sample, straightness, trajectory, type Velocity } from '../../flow/index.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { writeJson } from '../../io/json.ts';
import { runOptions } from '../arguments.ts';
import { provenance } from '../machine/provenance.ts';
import { makeFolder } from '../workdir/workdir.ts';
import { page, paragraph, row, section, table } from './html.ts';
import type { ReportFigures } from './page.ts';
import { pathPlot } from './svg.ts';

const EULER_STEPS = [1, 2, 4, 10, 100];
const PATHS = 200;
const PATH_STEPS = 100;

export interface PlaneFlow {
  name: string;
  /** (x [N, 2], t [N]) to [N, 2]. */
  velocity: Velocity;
  /** Updates done. */
  steps: number;
}

export interface PlaneReportOptions {
  /** Folder of report.html and report.json. */
  out: string;
  title: string;
  /** Points of the law that the flows are to end in, f32 [M, 2]; not those that were trained on. */
  data: Float32Array;
  /** Seed of the starts; default 1. */
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
 * @returns what report.json holds: `fd` is the energy distance to the data, over as many samples
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
      const { images } = await sample(velocity, { ...common, count, solver: 'euler', steps: N });
      fd[N] = energyDistance(images, data, 2);
    }
    const { images, nfe } = await sample(velocity, { ...common, count, solver: 'rk45', tolerance: 1e-5 });
    fd.rk45 = energyDistance(images, data, 2);
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
        `From ${PATHS} starts, the same for every flow (hollow), to their ends (full), over points of the data (grey).`,
      ),
      row(...plots),
    ),
    section(
      'What came out',
      table(
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
        `Under each number of steps: the energy distance between ${samples} samples and as many points of the data, 0 for equal ` +
          'laws. Straightness is E||(Z_1 - Z_0) - v(Z_t, t)||^2, the mean over both coordinates; 0 is straight.',
      ),
    ),
    section(
      'How it was made',
      table(
        ['what', 'value'],
        [
          ['version', `${made.version} (${made.revision})`],
          ['date', made.created],
          ['device', made.device],
          ['seed of the starts', made.seed],
        ],
      ),
    ),
  );
}
