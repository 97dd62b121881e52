// The command `toy`: flows between two clouds in the plane, with the figures of the papers. It runs the session that a page runs.
import { extname } from 'node:path';
import { loadCsv } from '../data/index.ts';
import { MOST_THREADS } from '../device/environment.ts';
import { openDevice } from '../device/open.ts';
import { openDefaultDevice } from '../device/open_default.ts';
import { ArgumentError, FileError, UsageError, ValueError } from '../errors.ts';
import { requireWritable, writeFileAtomic } from '../io/atomic.ts';
import { readNpz, toFloat32 } from '../io/index.ts';
import {
  couplings,
  type PlaneProgress,
  PlaneSession,
  type PlaneSettings,
  type PlaneSource,
  planeSetNames,
  planeSettings,
  velocityKinds,
} from '../plane/index.ts';
import { toyJson, writeToyPage } from '../run/report/toy.ts';
import { escapeJson, escapeText } from '../text.ts';
import type { Command, Parsed } from './arguments.ts';
import { runInterruptible } from './interrupt.ts';
import { openFile, quoted } from './open_file.ts';
import { type Progress, startProgress } from './progress.ts';
import { checkDevice, note } from './shared.ts';

const [LEAST_POWER, MOST_POWER] = [1.1, 10];

export const toyCommand: Command = {
  name: 'toy',
  details:
    'Trains a flow between two clouds in the plane and its reflows, and prints how straight their paths are, what they cost, how much more that ' +
    'is than the optimal assignment, and how far their ends are from the target. The playground computes the same numbers for the same ' +
    'settings on the device wasm.',
  overrides: 'none',
  options: {
    from: {
      value: 'SET',
      help: `cloud to start from: ${planeSetNames.join(', ')}, or a .csv file of points; default triangle`,
    },
    to: { value: 'SET', help: 'cloud to reach; default triangle, upside down' },
    given: { value: 'FILE', help: '.npz file with pairs x0 and x1 [N, 2], in place of --from, --to and --coupling' },
    coupling: { value: 'NAME', help: `how the first flow pairs points: ${couplings.join(', ')}; default random` },
    velocity: {
      value: 'KIND',
      help: `${velocityKinds.join(' | ')}: a network, or the non-parametric velocity; default mlp`,
    },
    reflow: { value: 'N', help: 'flows that follow the first; default 1' },
    distil: { help: 'also train a network for one step on the pairs of the last flow' },
    cost: {
      value: 'P',
      help: `train c-rectified flows for the cost |x|^P, ${LEAST_POWER} to ${MOST_POWER}; default: rectified flows, measured at P = 2`,
    },
    width: { value: 'N', help: 'features of a hidden layer; default 64' },
    depth: { value: 'N', help: 'hidden layers; default 3' },
    rate: { value: 'X', help: 'learning rate, which falls to 0; default 0.01' },
    batch: { value: 'N', help: 'pairs of an update; default 256' },
    l2: { value: 'X', help: 'L2 penalty of the weights; default 0' },
    steps: { value: 'N', help: 'updates of each flow; default 2000' },
    pairs: { value: 'N', help: 'pairs of a list: fixed 10000, optimal 2000 at most, kernel 1000 unless given' },
    bandwidth: { value: 'H', help: 'deviation of the kernel; default 1' },
    neighbours: { value: 'M', help: 'nearest pairs that the kernel averages; default 100' },
    points: { value: 'N', help: 'points that figures are measured from; default 2000, kernel 500' },
    seed: { value: 'N', help: 'default 0' },
    out: { value: 'FILE', help: 'X.html: a report with figures; X.json: the numbers' },
    open: { help: 'open the report when it is written' },
    device: { value: 'NAME', help: 'device to compute on; default cpu' },
    threads: { value: 'N', help: 'threads of cpu and wasm; default 1, which is fastest for networks this small' },
  },
  async run(parsed) {
    const settings = await settingsOf(parsed);
    const out = parsed.text('out');
    if (out !== undefined && !['.html', '.json'].includes(extname(out)))
      throw new UsageError(`--out expects a file name ending in .html or .json, got "${out}"`);
    if (parsed.has('open') && (out === undefined || extname(out) !== '.html'))
      throw new UsageError('--open needs --out X.html');
    checkDevice(parsed);
    const threads = parsed.whole('threads', 1, MOST_THREADS);
    if (parsed.text('device')?.startsWith('cuda') && threads !== undefined)
      throw new UsageError('--threads has no effect on the device cuda; leave it out');
    asUsage(() => planeSettings(settings));
    if (out !== undefined) await requireWritable(out);
    const named = parsed.text('device');
    const options = named?.startsWith('cuda') ? {} : { threads: threads ?? 1 };
    const device = await (named === undefined ? openDefaultDevice('cpu', options, note) : openDevice(named, options));
    const session = asUsage(() => new PlaneSession(settings, { device }));
    const display = new ToyDisplay(session);
    const begin = performance.now();
    await runInterruptible((signal) =>
      session.run({ signal, onProgress: (progress) => display.show(progress) }).finally(() => display.stop()),
    );
    const report = { command: commandLine(), seconds: (performance.now() - begin) / 1000 };
    if (out !== undefined && extname(out) === '.html') await writeToyPage(out, session, report);
    else if (out !== undefined)
      await writeFileAtomic(out, [Buffer.from(`${escapeJson(toyJson(session, report), 2)}\n`)]);
    process.stdout.write(`${figuresTable(session).join('\n')}\n`);
    if (out !== undefined) process.stdout.write(`report: ${escapeText(out)}\n`);
    session.dispose();
    if (parsed.has('open')) openFile(out as string);
    return 0;
  },
};

/** This command as it was given, for a shell. */
function commandLine(): string {
  return ['rectiflow', ...process.argv.slice(2)].map(quoted).join(' ');
}

/** Checks settings. Those that exclude each other are mistakes on the command line, so they are named as options. @throws UsageError */
function asUsage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (!(error instanceof ValueError || error instanceof ArgumentError)) throw error;
    const text = error.message.replace(/^\[\w+\] /, '');
    throw new UsageError(text.replace(/^expected no (\w+) with/, 'expected no --$1 with'));
  }
}

async function settingsOf(parsed: Parsed): Promise<Partial<PlaneSettings>> {
  const number = (name: string, expected: string, test: (value: number) => boolean) => {
    const text = parsed.text(name);
    if (text === undefined) return undefined;
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!test(value)) throw new UsageError(`--${name} expects ${expected}, got "${text}"`);
    return value;
  };
  const cost = number(
    'cost',
    `a number from ${LEAST_POWER} to ${MOST_POWER}`,
    (v) => v >= LEAST_POWER && v <= MOST_POWER,
  );
  const velocity = parsed.oneOf('velocity', velocityKinds);
  if (cost !== undefined && velocity === 'kernel')
    throw new UsageError('--cost trains networks; it has no effect on --velocity kernel');
  const settings: Partial<PlaneSettings> = {
    coupling: parsed.oneOf('coupling', couplings),
    velocity,
    reflow: parsed.whole('reflow', 0, 20),
    distil: parsed.has('distil') || undefined,
    ...(cost !== undefined && { power: cost, potential: true }),
    width: parsed.whole('width', 1, 1024),
    depth: parsed.whole('depth', 1, 8),
    rate: parsed.positive('rate', 1),
    batch: parsed.whole('batch', 1, 65_536),
    l2: number('l2', 'a number from 0 to 1', (v) => v >= 0 && v <= 1),
    steps: parsed.whole('steps', 1, 1_000_000),
    pairs: parsed.whole('pairs', 1, 100_000),
    bandwidth: number('bandwidth', 'a number from 0.001 to 1000000', (v) => v >= 1e-3 && v <= 1e6),
    neighbours: parsed.whole('neighbours', 1, 100_000),
    points: parsed.whole('points', 2, 20_000),
    seed: parsed.whole('seed', 0),
    from: await sourceOf(parsed.text('from')),
    to: await sourceOf(parsed.text('to')),
    given: await givenOf(parsed.text('given')),
  };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

/** A set by its name, or the points of a file. @throws FileError for a file without two columns of finite numbers */
async function sourceOf(text: string | undefined): Promise<PlaneSource | undefined> {
  if (text === undefined || !text.endsWith('.csv')) return text as PlaneSource | undefined;
  const { count, columns, load } = await loadCsv(text);
  if (columns.length !== 2)
    throw new FileError(text, `expected two columns, x and y, below a line of names, got ${columns.length}`);
  const { x } = await load(Int32Array.from({ length: count }, (_, i) => i));
  return { points: x.data as Float32Array, name: text };
}

/** The pairs of an .npz file. @throws FileError unless it has x0 and x1 [N, 2] */
async function givenOf(path: string | undefined): Promise<PlaneSettings['given']> {
  if (path === undefined) return undefined;
  if (!path.endsWith('.npz')) throw new UsageError(`--given expects a file name ending in .npz, got "${path}"`);
  const arrays = await readNpz(path, { names: ['x0', 'x1'] });
  const [x0, x1] = ['x0', 'x1'].map((name) => {
    const array = arrays.get(name);
    if (!array) throw new FileError(path, `expected an array ${name} [N, 2], found none`);
    if (array.shape.length !== 2 || array.shape[1] !== 2)
      throw new FileError(path, `expected ${name} [N, 2], got [${array.shape.join(', ')}]`);
    return array.data instanceof Float64Array ? array.data : toFloat32(array);
  });
  return { x0, x1 };
}

/** A bar for each training, and a line for other work. */
class ToyDisplay {
  private readonly session: PlaneSession;
  private shown = '';
  private bar: Progress | undefined;

  constructor(session: PlaneSession) {
    this.session = session;
  }

  show({ task, flow, done, total, loss }: PlaneProgress): void {
    const name = this.session.flows[flow]?.name ?? '';
    const key = `${task} ${flow}`;
    if (key !== this.shown) {
      this.stop();
      this.shown = key;
      if (task === 'train') this.bar = startProgress(name, total);
    }
    if (total > 0) this.bar?.update(done, `loss ${loss.toFixed(3)}`);
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
  }
}

/** A row for the pairs and one for each flow. */
function figuresTable({ coupling, flows }: PlaneSession): string[] {
  const text = (value: number | undefined, digits = 4) => (value === undefined ? '-' : value.toFixed(digits));
  const rows = [
    ['', 'straightness', 'cost', 'excess', 'N = 1', 'N = 100'],
    ['pairs', '-', text(coupling?.cost), text(coupling?.excess), '-', '-'],
    ...flows.map(({ name, kind, figures }) =>
      kind === 'distil'
        ? [name, '-', '-', '-', text(figures?.energy[1], 5), '-']
        : [
            name,
            text(figures?.straightness),
            text(figures?.cost),
            text(figures?.coupling.excess),
            text(figures?.energy[1], 5),
            text(figures?.energy[100], 5),
          ],
    ),
  ];
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i] + 2)))
      .join('')
      .trimEnd(),
  );
}
