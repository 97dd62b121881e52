// The report of a session of flows in the plane: one page with its pairs, paths, single steps and figures, or the same as JSON.
import { writeFileAtomic } from '../../io/index.ts';
import { ERROR_STEPS, type PlaneSession, type PlaneSource, type SessionFlow } from '../../plane/index.ts';
import { provenance } from '../machine/provenance.ts';
import { type Drawing, inlineSvg, linePlot, type Point, pageTheme, pathPlot, reachOf } from '../plot/index.ts';
import { count, figuresText, plural } from './figures.ts';
import { type Cell, code, htmlTable, NARROW, page, panels, paragraph, responsivePlot, section } from './html.ts';
import { wide } from './plots.ts';

/** Lines that a plot shows. */
const LINES = 150;
const BACKGROUND = 1000;
/** Points of a path that are drawn. */
const STOPS = 25;

export interface ToyReport {
  /** The command that makes it again. */
  command: string;
  seconds: number;
}

/** The contents of a report in JSON. */
export function toyJson(session: PlaneSession, { command, seconds }: ToyReport): object {
  const { from, to, given, ...settings } = session.settings;
  const ends = given ? { given: given.x0.length / 2 } : { from: nameOf(from), to: nameOf(to) };
  return {
    ...provenance(),
    created: new Date().toISOString(),
    device: `${session.device.name}, ${session.device.description}`,
    command,
    seconds: Number(seconds.toFixed(1)),
    settings: { ...ends, ...settings },
    pairs: session.coupling,
    flows: session.flows.map(({ name, kind, figures, losses }) => ({ name, kind, ...figures, losses })),
  };
}

/** Writes the page. @param path of the .html file @throws FileError if it cannot be written */
export async function writeToyPage(path: string, session: PlaneSession, report: ToyReport): Promise<void> {
  await writeFileAtomic(path, [Buffer.from(toyPage(session, report))]);
}

function nameOf(source: PlaneSource): string {
  return typeof source === 'string' ? source : (source.name ?? 'points');
}

/** |x1 - x0|^2 as it is written in a sentence. */
function costText(power: number): string {
  return `|Z_1 - Z_0|^${power}`;
}

function toyPage(session: PlaneSession, { command, seconds }: ToyReport): string {
  const { settings, flows, coupling, device } = session;
  const { version, revision } = provenance();
  const created = new Date().toISOString();
  const { velocity, power, potential, seed, given } = settings;
  const title = given ? 'Flows of given pairs' : `From ${nameOf(settings.from)} to ${nameOf(settings.to)}`;
  const kinds = velocity === 'kernel' ? 'the kernel velocity, which needs no training' : 'a network';
  const settingsText = Object.entries(toyJson(session, { command, seconds }))
    .filter(([key]) => key === 'settings')
    .flatMap(([, value]) => Object.entries(value as object).map(([key, one]) => `${key} ${String(one)}`));
  return page(title, {
    intro: [
      paragraph(
        `A rectified flow moves points along paths from one cloud to another. Its velocity here is ${kinds}. The first flow learns from ` +
          'pairs of points; each further one learns from pairs of start and end of the flow before it, which makes paths straighter.',
      ),
      ...(potential
        ? [
            paragraph(
              `These are c-rectified flows (Liu, arXiv 2209.14577) for the cost c = |x|^${power} / ${power}: their velocity is a function of the ` +
                'gradient of a potential, so that reflow approaches the optimal transport for this cost.',
            ),
          ]
        : []),
    ],
    sections: [
      section(
        'Pairs and paths',
        paragraph(
          `First the pairs that the first flow learns from, as lines; then the paths of each flow from ${LINES} start points (hollow), the ` +
            'same for every flow, to their ends (filled), over points of the target (grey).',
        ),
        panels(...pathPanels(session)),
      ),
      section(
        'One step',
        paragraph(
          'Where a single step leads, Z_0 + v(Z_0, 0). Where paths are curved, that is in the middle; once they are straight, it ' +
            'is where they end.',
        ),
        panels(...stepPanels(session)),
      ),
      section(
        'Figures',
        responsivePlot((width) => energyPlot(flows, width)),
        panels(...reflowPlots(session).map(inlineSvg)),
        figuresTable(session),
        paragraph(
          `Straightness: E|v(Z_t, t) - (Z_1 - Z_0)|^2 over ${plural(settings.eulerSteps, 'Euler step')}, the sum over both coordinates; 0 if ` +
            `every path is straight. Cost: the mean of ${costText(power)} over ${count(settings.points)} paths. Excess: what the first ` +
            `${count(settings.assigned)} of them cost more than the best pairing of the same starts and ends, which is computed exactly. Energy ` +
            `distance: how far ${count(settings.points)} end points are, as a group, from as many fresh points of the target, less the distance ` +
            'of fresh points to each other; it may be slightly negative where the flow is as good as that.',
        ),
        ...(coupling
          ? [
              paragraph(
                `The first ${count(coupling.pairs)} pairs cost ${figuresText(coupling.cost)}, and their best pairing ` +
                  `${figuresText(coupling.optimalCost)}; ${count(coupling.crossings)} of ${count(coupling.compared)} pairs of lines cross.`,
              ),
            ]
          : []),
      ),
      section(
        'Provenance',
        paragraph('This command makes the page again:'),
        code(command),
        htmlTable(
          'What this page was made from',
          ['what', 'value'],
          [
            ['Version', `${version} (${revision})`],
            ['Date', created],
            ['Device', `${device.name}, ${device.description}`],
            ['Time', `${seconds.toFixed(0)} s`],
            ['Seed', String(seed)],
            ['Settings', settingsText.join(', ')],
          ],
        ),
      ),
    ],
    footer: `Written by rectiflow ${version} on ${created.slice(0, 16).replace('T', ' ')} UTC.`,
  });
}

/** The target's points behind paths: drawn ones, or those of given pairs. */
function backgroundOf(session: PlaneSession): Float32Array {
  const { given } = session.settings;
  return given ? Float32Array.from(given.x1.subarray(0, 2 * BACKGROUND)) : session.draw('to', BACKGROUND).points;
}

function reach(session: PlaneSession): number {
  return reachOf(backgroundOf(session), Float32Array.from(session.starts(BACKGROUND)));
}

function pathPanels(session: PlaneSession): string[] {
  const background = backgroundOf(session);
  const shared = { theme: pageTheme, background, reach: reach(session), size: NARROW };
  const { x0, x1 } = session.couplingPairs(LINES);
  const lines = [Float32Array.from(x0), Float32Array.from(x1)];
  const starts = session.starts(LINES);
  return [
    inlineSvg(pathPlot(lines, { ...shared, title: 'Pairs' })),
    ...session.flows.flatMap(({ name, kind }, k) => {
      if (kind === 'distil') return [];
      const { points } = session.paths(k, starts, { steps: session.settings.eulerSteps, stops: STOPS });
      return [inlineSvg(pathPlot(points, { ...shared, title: name }))];
    }),
  ];
}

function stepPanels(session: PlaneSession): string[] {
  const shared = { theme: pageTheme, background: backgroundOf(session), reach: reach(session), size: NARROW };
  const starts = session.starts(LINES);
  return session.flows.map(({ name }, k) => {
    const { points } = session.paths(k, starts, { steps: 1 });
    return inlineSvg(pathPlot(points, { ...shared, title: name }));
  });
}

function energyPlot(flows: readonly SessionFlow[], width: number): Drawing | undefined {
  const series = flows.map(({ name, figures, kind }) => ({
    label: name,
    // A network that was trained for one step is not meant for more.
    points: ERROR_STEPS.filter((steps) => kind !== 'distil' || steps === 1).flatMap((steps): Point[] => {
      const value = figures?.energy[steps];
      return value === undefined ? [] : [[steps, value]];
    }),
  }));
  return linePlot(series, {
    theme: pageTheme,
    title: 'Error against steps',
    xLabel: 'Euler steps',
    yLabel: 'energy distance to the target; lower is better',
    logX: true,
    logY: true,
    xTicks: ERROR_STEPS,
    width,
    height: 330,
  });
}

function reflowPlots({ flows, settings }: PlaneSession): Drawing[] {
  const shown = flows.filter(({ kind }) => kind !== 'distil');
  if (shown.length < 2) return [];
  const against = (title: string, yLabel: string, value: (flow: SessionFlow) => number | undefined) =>
    linePlot(
      [
        {
          label: title,
          points: shown.flatMap((flow, k): Point[] => {
            const y = value(flow);
            return y === undefined ? [] : [[k + 1, y]];
          }),
        },
      ],
      {
        theme: pageTheme,
        title,
        xLabel: 'flow',
        yLabel,
        logY: wide(shown.map((flow) => value(flow) ?? 0)),
        wholeX: true,
        width: NARROW,
        height: 250,
      },
    );
  return [
    against('Straightness', 'deviation from straight paths; 0 is straight', ({ figures }) => figures?.straightness),
    against('Transport cost', `mean of ${costText(settings.power)}`, ({ figures }) => figures?.cost),
    against(
      'Excess over the optimal assignment',
      'cost less the least cost',
      ({ figures }) => figures?.coupling.excess,
    ),
  ].filter((plot): plot is Drawing => plot !== undefined);
}

function figuresTable({ flows }: PlaneSession): string {
  const row = (name: string, value: (flow: SessionFlow) => number | undefined): Cell[] => [
    name,
    ...flows.map((flow) => {
      const number = value(flow);
      return { number: number === undefined ? '–' : figuresText(number) };
    }),
  ];
  const isPath = ({ kind }: SessionFlow) => kind !== 'distil';
  return htmlTable(
    'Figures of each flow',
    ['measure', ...flows.map(({ name }) => name)],
    [
      row('Straightness', (flow) => (isPath(flow) ? flow.figures?.straightness : 0)),
      row('Cost', (flow) => (isPath(flow) ? flow.figures?.cost : undefined)),
      row('Excess over the assignment', (flow) => (isPath(flow) ? flow.figures?.coupling.excess : undefined)),
      row('Error of one step', (flow) => (isPath(flow) ? flow.figures?.oneStepError : undefined)),
      ...ERROR_STEPS.map((steps) =>
        row(`Energy distance, ${plural(steps, 'step')}`, (flow) =>
          isPath(flow) || steps === 1 ? flow.figures?.energy[steps] : undefined,
        ),
      ),
    ],
  );
}
