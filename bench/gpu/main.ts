// `npm run gpu`: checks and measures this package on a machine with an NVIDIA card that has Node, koffi and the built package and
// nothing else. Writes bench/results/<card>-<date>.json and prints a table. Exit codes: 0 all done; 1 something failed or is left to
// do; 2 wrong usage.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { surveyCuda } from '../../src/device/cuda/survey.ts';
import { type Precision, precisions } from '../../src/device/device.ts';
import { openDevice } from '../../src/device/open.ts';
import { ValueError } from '../../src/errors.ts';
import { builtFrom } from './about.ts';
import { Children, serveItems } from './children.ts';
import { CardMonitor } from './monitor.ts';
import { CUDNN, makeParts, type Part, partNames, usualParts } from './parts.ts';
import { type Item, ResultsFile } from './results_file.ts';
import { describeStepPlan, planStep } from './step_plan.ts';
import { assertSweepable, fastestTiles, sweepLines, sweptPasses, tuningText } from './sweep.ts';
import { tableLines } from './table.ts';

const HELP = `npm run gpu -- [options]     or: node dist/gpu/main.js [options]
  --dry-run            print what would be done, and exit
  --table              print the table of docs/gpu.md: the work of each kernel of a step, and predicted times
  --fill ARCH          compile the kernels for an architecture, such as sm_90a, into RECTIFLOW_CACHE, without a card
  --plan               print kernels and memory of the official training step at batch 128, computed without a card
  --only PART,...      some of ${partNames.join(', ')}; default: all but the last
  --precision P,...    some of ${precisions.join(', ')}; default: all
  --filter TEXT        only items whose name contains TEXT; alternatives are separated by |
  --minutes N          start nothing more after this time; default: 8.5; run again to resume
  --limit SECONDS      stop an item after this time; default: four times what it may need, at least a minute
  --state FILE         results so far; default: .gpu/state.json
  --out FOLDER         folder of the results; default: bench/results
  --tuning FILE        file for the tiles that a sweep found; default: src/kernels/tuning/sm_90a_measured.json
`;

/** CUDA then numbers the cards as nvidia-smi does. */
process.env.CUDA_DEVICE_ORDER ??= 'PCI_BUS_ID';

const PLANNED_BATCH = 128;
/** Seconds that the last item may take after the time is over. */
const OVERTIME = 30;

interface Options {
  dryRun: boolean;
  plan: boolean;
  table: boolean;
  /** An architecture. */
  fill: string | undefined;
  only: string[];
  precision: Precision[];
  filter: string;
  minutes: number;
  /** Seconds after which an item is stopped; undefined for the default of each. */
  limit: number | undefined;
  /** Performs items for a parent process. */
  serve: boolean;
  state: string;
  out: string;
  tuning: string;
}

/** @throws ValueError, or the error of util.parseArgs, for wrong usage */
function parseOptions(args: string[]): Options | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      'dry-run': { type: 'boolean' },
      plan: { type: 'boolean' },
      table: { type: 'boolean' },
      fill: text,
      help: { type: 'boolean' },
      only: text,
      precision: text,
      filter: text,
      minutes: text,
      limit: text,
      // Used by this program when it starts itself.
      serve: { type: 'boolean' },
      state: text,
      out: text,
      tuning: text,
    },
  });
  if (values.help) return 'help';
  const listed = <Word extends string>(
    name: 'only' | 'precision',
    known: readonly Word[],
    usual: readonly string[] = known,
  ): Word[] => {
    const words = values[name]?.split(',') ?? [...usual];
    const odd = words.find((word) => !known.includes(word as Word));
    if (odd !== undefined) throw new ValueError(`--${name} takes ${known.join(', ')}; got ${odd}`);
    return words as Word[];
  };
  const minutes = Number(values.minutes ?? 8.5);
  if (!(minutes > 0)) throw new ValueError(`--minutes takes a number > 0, got ${values.minutes}`);
  const limit = values.limit === undefined ? undefined : Number(values.limit);
  if (limit !== undefined && !(limit > 0)) throw new ValueError(`--limit takes a number > 0, got ${values.limit}`);
  return {
    dryRun: values['dry-run'] ?? false,
    plan: values.plan ?? false,
    table: values.table ?? false,
    fill: values.fill,
    only: listed('only', partNames, usualParts),
    precision: listed('precision', precisions),
    filter: values.filter ?? '',
    minutes,
    limit,
    serve: values.serve ?? false,
    state: values.state ?? join('.gpu', 'state.json'),
    out: values.out ?? join('bench', 'results'),
    tuning: values.tuning ?? join('src', 'kernels', 'tuning', 'sm_90a_measured.json'),
  };
}

async function main(args: string[]): Promise<number> {
  let options: Options | 'help';
  try {
    options = parseOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (options === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.table) {
    console.log(tableLines(options.out).join('\n'));
    return 0;
  }
  if (options.fill !== undefined) {
    const { fillCache } = await import('./fill.ts');
    console.log(`${await fillCache(options.fill)} modules compiled for ${options.fill}`);
    return 0;
  }
  if (options.plan) {
    const precision = options.precision.at(-1) as Precision;
    console.log(`training step of the official CIFAR-10 network at batch ${PLANNED_BATCH} in ${precision}, one graph`);
    for (const [card, hopper] of [['any from sm_80 on', false] as const, ['sm_90a', true] as const]) {
      console.log(`\non a card of ${card}`);
      for (const line of describeStepPlan(planStep(PLANNED_BATCH, precision, { hopper }))) console.log(line);
    }
    return 0;
  }
  const { driver, nvrtc, cards } = surveyCuda();
  const parts = (await makeParts(options)).filter(({ name }) => options.only.includes(name));
  if (options.serve) {
    serveItems(({ part, name, secondsLeft }) => {
      const items = parts.find((one) => one.name === part)?.items ?? [];
      const item = items.find((one) => one.name === name);
      if (!item) throw new ValueError(`no item ${name} in the part ${part}`);
      return Promise.resolve(item.run(secondsLeft));
    });
    return 0;
  }
  if (options.dryRun) {
    for (const [name, part] of [['driver', driver] as const, ['NVRTC', nvrtc] as const])
      console.log(`${name}: ${part.works ? part.text : `absent: ${part.text}`}`);
    for (const card of cards) console.log(`card: ${card.text}`);
    console.log(`\nwould do, for ${options.minutes} minutes at most:`);
    for (const { name, what, items } of parts)
      console.log(`  ${name.padEnd(9)} ${String(items.length).padStart(4)}  ${what}`);
    return 0;
  }
  const lacking = [driver, nvrtc, ...cards.slice(0, 1)].find(({ works }) => !works);
  if (lacking || cards.length === 0) {
    console.error(`no card to run on: ${lacking?.text ?? 'the driver shows none'}`);
    return 1;
  }
  console.log(`${cards[0].text}; driver: ${driver.text}; NVRTC: ${nvrtc.text}`);
  return perform(options, parts, cards[0].text, args);
}

async function perform(
  options: Options,
  parts: readonly Part[],
  card: string,
  args: readonly string[],
): Promise<number> {
  const { minutes, out } = options;
  if (parts.some(({ name }) => name === 'sweep')) {
    try {
      assertSweepable(await openDevice('cuda', { precision: 'bf16' }));
    } catch (error) {
      console.error((error as Error).message);
      return 1;
    }
  }
  const built = builtFrom();
  const results = new ResultsFile(options.state, `${card}, ${built.version} ${built.revision}`, minutes);
  const children = new Children(fileURLToPath(import.meta.url), [...args, '--serve']);
  const monitor = new CardMonitor(process.env.CUDA_VISIBLE_DEVICES?.split(',')[0] || '0');
  const stop = (signal: NodeJS.Signals) => {
    children.close();
    monitor.close();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  const all = parts.flatMap(({ name: part, items }) => items.map((item) => ({ part, ...item })));
  // What failed before comes after what has not been tried.
  const [tried, fresh] = [true, false].map((before) =>
    all.filter(({ part, name }) => (results.find(part, name) !== undefined) === before),
  );
  let left = 0;
  for (const { part, name, seconds } of [
    ...fresh,
    ...tried.filter(({ part, name }) => !isDone(results.find(part, name))),
  ]) {
    const { secondsLeft } = results;
    if (secondsLeft < seconds) {
      left++;
      continue;
    }
    const limit = options.limit ?? Math.min(Math.max(60, 4 * seconds), secondsLeft + OVERTIME);
    const start = performance.now();
    const item = await results.run(part, name, async () => {
      const result = await children.run({ part, name, secondsLeft }, limit);
      return result.values ? { ...result, values: { ...result.values, ...monitor.since(start) } } : result;
    });
    report(item);
  }
  children.close();
  if (monitor.absent) console.log(`no clocks and no power: ${monitor.absent}`);
  monitor.close();
  const failed = all
    .map(({ part, name }) => results.find(part, name))
    .filter((item) => item !== undefined && !item.ok) as Item[];
  const passed = all.filter(({ part, name }) => isDone(results.find(part, name)));
  const skipped = all.filter(({ part, name }) => results.find(part, name)?.skipped);
  console.log(
    `\n${passed.length} items passed, ${failed.length} failed, ${left} are left${skipped.length > 0 ? `, ${skipped.length} were skipped` : ''}`,
  );
  for (const { part, name, detail } of failed) console.log(`FAILED  ${part}: ${name}\n${detail}`);
  // What was measured is another kernel where a fast build is not used.
  const kernels = surveyCuda().kernels[0].text;
  console.log(`kernels: ${kernels}`);
  mkdirSync(out, { recursive: true });
  const date = new Date().toISOString().slice(0, 10);
  const path = join(out, `${card.split(',')[0].replace(/\W+/g, '-').toLowerCase()}-${date}.json`);
  const about = {
    ...built,
    card,
    kernels,
    date,
    node: process.version,
    command: ['node dist/gpu/main.js', ...process.argv.slice(2)],
  };
  writeFileSync(path, `${JSON.stringify({ ...about, left, items: results.items }, null, 1)}\n`);
  console.log(`results: ${path}`);
  if (left > 0) {
    console.log(`${minutes} minutes are over: run it again to resume`);
    return 1;
  }
  if (parts.some(({ name }) => name === 'sweep')) keepSweep(options.tuning, results, { card, created: date });
  if (failed.length === 0) results.finish();
  return failed.length > 0 ? 1 : 0;
}

/** Writes the fastest tiles and prints them next to cuDNN's times. */
function keepSweep(path: string, results: ResultsFile, origin: { card: string; created: string }): void {
  const swept = results.items.filter(({ part, ok }) => part === 'sweep' && ok);
  const times = new Map(swept.map(({ name, values = {} }) => [name, values]));
  const cudnn = times.get(CUDNN) ?? {};
  const passes = sweptPasses();
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, tuningText({ origin, ...fastestTiles(passes, times) }));
  console.log(`${sweepLines(passes, times, cudnn).join('\n')}\ntiles: ${path}; build again to use them`);
}

/** Whether an item need not be tried again. */
function isDone(item: Item | undefined): boolean {
  return item?.ok === true && !item.skipped;
}

/** One line of the table. */
function report({ part, name, ok, skipped, seconds, detail, values = {} }: Item): void {
  const numbers = Object.entries(values).map(([key, value]) => `${key} ${Number(value.toPrecision(4))}`);
  const text = [...numbers, ok && detail ? detail : ''].filter(Boolean).join('  ');
  console.log(
    `${skipped ? 'absent' : ok ? 'ok    ' : 'FAILED'} ${part.padEnd(9)} ${seconds.toFixed(1).padStart(6)} s  ${name}  ${text}`.trimEnd(),
  );
}

process.exitCode = await main(process.argv.slice(2));
