// Pages of reports on invented measurements, one for each kind of run. Nothing is trained.
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mul, openDevice } from '../../../src/index.ts';
import type { Config } from '../../../src/run/config/types.ts';
import { type MeasuredFlow, type ReportedFlow, samplerName, samplers } from '../../../src/run/report/measure.ts';
import { type FlowResult, type ReportPage, reportPage } from '../../../src/run/report/page.ts';
import { pathsPicture, strip, stripImages } from '../../../src/run/report/pictures.ts';
import { reportPlane } from '../../../src/run/report/plane.ts';
import { type ReportedStage, repeatSection } from '../../../src/run/report/repeat.ts';
import { configWith } from '../../support/config.ts';

const PATHS = 4;

/** Bytes that look like noise: i * 73 mod 251. */
const bytes = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 73) % 251);

const imageBytes = ({ data }: Config) => data.image_size ** 2 * data.num_channels;

function logOf(steps: number, evaluated = 100): FlowResult['log'] {
  return Array.from({ length: steps }, (_, step) => ({
    step,
    loss: 0.4 + 2 * Math.exp(-step / 40) + 0.05 * Math.sin(step * 1.7),
    imagesPerSecond: 500,
    ...(step % evaluated === 0 && { evalLoss: 0.42 + 2 * Math.exp(-step / 40), straightness: 0.1 + step / 5000 }),
  }));
}

async function measured(flow: ReportedFlow, distances: readonly number[] | undefined): Promise<MeasuredFlow> {
  const { config } = flow;
  const frame = Float32Array.from(bytes(PATHS * imageBytes(config)), (byte) => byte / 255);
  const frames = Array.from({ length: 6 }, () => frame);
  const rows = samplers(config.sampling, flow.distilledTo).map(async ({ use_ode_sampler: solver, sample_N }, i) => {
    const sampler = solver === 'rk45' ? solver : String(sample_N);
    const images = bytes(stripImages(config) * imageBytes(config));
    return {
      sampler,
      nfe: solver === 'rk45' ? 37.5 : sample_N,
      distance: distances?.[i],
      first: { images, shape: [] },
      picture: await strip(images, config, `samples of the ${flow.name}, ${samplerName(sampler)}`),
    };
  });
  return {
    flow,
    parameters: 748_737,
    steps: 501,
    rows: await Promise.all(rows),
    straightness: 0.145,
    straightnessSteps: flow.distilledTo ?? 100,
    paths: await pathsPicture({ points: frames, ends: frames } as never, config, { paths: PATHS, name: flow.name }),
  };
}

const figuresOf = (more: Partial<ReportPage['figures']>): ReportPage['figures'] => ({
  version: '0.1.0',
  revision: '0123456789ab',
  created: '2026-11-29T08:30:00.000Z',
  device: 'cpu, 2 threads',
  seed: 43,
  samples: 192,
  stages: [],
  ...more,
});

const scored = { features: 'classifier classifier.safetensors (1f1d4573)', heldOut: { images: 192, fd: 0.2037 } };

const flowOf = (name: string, config: Config, more: Partial<ReportedFlow> = {}): ReportedFlow => {
  const folder = `runs/quickstart/${name.replaceAll(' ', '_')}`;
  return {
    name,
    folder,
    config,
    source: 'data',
    checkpoint: `${folder}/checkpoints/checkpoint_1.safetensors`,
    ...more,
  };
};

async function chain(names: readonly string[], workdir: string, config: Config): Promise<string> {
  const flows = [
    flowOf(names[0], config),
    flowOf(names[1], config, { source: 'pairs' }),
    flowOf(names[2], config, { source: 'pairs', distilledTo: 1 }),
  ];
  const distances = [
    [26.12, 3.581, 0.9042, 0.4311, 0.3818, 0.3796],
    [0.5736, 0.5333, 0.4963, 0.473, 0.4597, 0.4571],
    [0.5585, 0.8537, 0.9659, 0.959, 0.9169, 0.9109],
  ];
  const stages = names.map(
    (name, i): ReportedStage => ({ name, path: `${workdir}/${i}`, seconds: 65.2 * (i + 1), state: 'complete' }),
  );
  return reportPage({
    results: await Promise.all(
      flows.map(async (flow, i) => ({ flow, log: logOf(501), measured: await measured(flow, distances[i]) })),
    ),
    figures: figuresOf(scored),
    config,
    real: await strip(bytes(stripImages(config) * imageBytes(config)), config, 'real images'),
    stages: stages.map((stage) => ({ ...stage, imagesPerSecond: 512.3, bytes: 30e6 })),
    price: 2.5,
    repeat: await repeatSection({ command: 'chain', config, configFile: 'chain.json', stages }, workdir),
  });
}

/** A run of one flow. @param steps updates so far @param distances absent if nothing was scored; null without snapshot */
async function single(flow: ReportedFlow, steps: number, distances?: readonly number[] | null): Promise<string> {
  const stages: ReportedStage[] = [{ name: `training of the ${flow.name}`, path: flow.folder, state: 'begun' }];
  const run = { command: 'train', config: flow.config, configFile: 'config.json', stages } as const;
  return reportPage({
    results: [
      {
        flow,
        log: logOf(steps),
        measured: distances === null ? undefined : await measured(flow, distances),
      },
    ],
    figures: figuresOf(distances ? scored : {}),
    config: flow.config,
    stages: [{ ...stages[0], seconds: steps * 0.25, imagesPerSecond: 512.3, bytes: 18_000 }],
    repeat: await repeatSection(run, flow.folder),
  });
}

async function plane(): Promise<string> {
  const out = mkdtempSync(join(tmpdir(), 'rectiflow-plane-'));
  const device = await openDevice('cpu');
  const data = Float32Array.from({ length: 80 }, (_, i) => Math.cos(i * 1.3) * 2);
  await reportPlane(
    ['1-rectified flow', '2-rectified flow'].map((name, i) => ({
      name,
      velocity: (x) => mul(x, 0.3 + 0.2 * i),
      steps: 1000,
    })),
    { out, title: 'Two moons', data, device },
  );
  return readFileSync(join(out, 'report.html'), 'utf8');
}

/** Text that would run, break out of its element, reorder its line, or not fit. */
export const hostile = `</b></svg></pre>'"><script>globalThis.attacked=1</script><img src=x onerror=globalThis.attacked=1>&lt;\u202e\u0007${'x'.repeat(300)}`;

/** The pages by name, each with the titles of its sections. */
export async function pages(): Promise<Record<string, { html: string; sections: string[] }>> {
  const digits = await configWith('digits', {});
  const long = await configWith('digits', { 'data.root_path': `/data/${hostile}`, 'training.n_iters': 1000 });
  const colour = await configWith('cifar10_small', { 'training.n_iters': 400 });
  const all = ['Samples', 'Quality and speed', 'Paths', 'Training', 'Time and cost', 'Make it again', 'Provenance'];
  const names = ['1-rectified flow', '2-rectified flow', 'distilled to 1 step'];
  const without = (...titles: string[]) => all.filter((title) => !titles.includes(title));
  return {
    chain: { html: await chain(names, 'runs/quickstart', digits), sections: all },
    hostile: {
      html: await chain(
        names.map((name) => name + hostile),
        `runs/${hostile}`,
        long,
      ),
      sections: all,
    },
    'a single run': {
      html: await single(flowOf('rectified flow', colour), 401, [9.1, 5.2, 3.3, 2.1, 1.9, 1.95]),
      sections: all,
    },
    'a distilled run without scores': {
      html: await single(flowOf('flow distilled to 3 steps', colour, { source: 'pairs', distilledTo: 3 }), 401),
      sections: without('Paths'),
    },
    'a run that has just begun': {
      html: await single(flowOf('rectified flow', colour), 3, null),
      sections: without('Samples', 'Quality and speed', 'Paths'),
    },
    plane: { html: await plane(), sections: ['Paths', 'Quality and speed', 'Provenance'] },
  };
}
