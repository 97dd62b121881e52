// Calls the public functions of the engine with arguments that they do not accept, in a separate process:
//   node --import jiti/register scan_child.ts DEVICE JOURNAL SEED RUNS
// The journal holds the current call, so that a call that ends the process can be identified. Prints a ScanReport.
import { closeSync, openSync, writeSync } from 'node:fs';
import fc from 'fast-check';
import { describeValue } from '../../src/arguments.ts';
import { openDevice } from '../../src/device/open.ts';
import * as evaluation from '../../src/eval/index.ts';
import * as flow from '../../src/flow/index.ts';
import * as engine from '../../src/index.ts';
import * as nn from '../../src/nn/index.ts';
import { callables, garbage, OwnError } from './garbage.ts';
import '../../src/fluent.ts';

export interface ScanReport {
  functions: number;
  calls: number;
  /** Calls that ended in a RectiflowError. */
  refused: number;
  /** Calls that ended in another error. */
  faults: string[];
}

const [, , deviceName, journalPath, seed, runs] = process.argv;
const device = await openDevice(deviceName, { threads: 1 });
const { Tensor, cast, keep, randn, tensor, zeros } = engine;

/** Makes new operands, since a call may dispose them. */
const operands = {
  matrix: () => randn([8, 8], { seed: 1 }),
  leaf: () => randn([8, 8], { seed: 2, requiresGrad: true }),
  images: () => randn([1, 4, 4, 4], { seed: 3 }),
  weight: () => randn([4, 3, 3, 4], { seed: 4 }),
  vector: () => randn([3], { seed: 5 }),
  four: () => randn([4], { seed: 6 }),
  eight: () => randn([8], { seed: 10 }),
  scalar: () => tensor(2),
  index: () => tensor([0, 2, 1], { dtype: 'i32' }),
  outside: () => tensor([0, 9, -1], { dtype: 'i32' }),
  mask: () => engine.less(randn([8, 8], { seed: 7 }), 0),
  pixels: () => tensor(new Uint8Array(48), { shape: [1, 4, 4, 3], dtype: 'u8' }),
  half: () => cast(randn([8, 8], { seed: 8 }), 'bf16'),
  none: () => zeros([0, 3]),
  deep: () => zeros([2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1]),
  gone() {
    const t = zeros([8, 8]);
    t.dispose();
    return t;
  },
  foreign: () => ({ [Symbol.for('rectiflow.Tensor')]: true, shape: [8, 8], dtype: 'f32', size: 64, address: 8 }),
  lookAlike: () => Object.create(Tensor.prototype) as unknown,
} satisfies Record<string, () => unknown>;
const operandNames = Object.keys(operands) as (keyof typeof operands)[];

/** A recipe for one argument, which is made again for each call. */
type Plan = { text: string; make: () => unknown };
const plain = (value: unknown): Plan => ({ text: describeValue(value), make: () => value });
const operand = (name: keyof typeof operands): Plan => ({ text: name, make: operands[name] });
const list = (items: Plan[]): Plan => ({
  text: `[${items.map(({ text }) => text).join(', ')}]`,
  make: () => items.map(({ make }) => make()),
});
const record = (entries: [string, Plan][]): Plan => ({
  text: `{ ${entries.map(([key, { text }]) => `${key}: ${text}`).join(', ')} }`,
  make: () => Object.fromEntries(entries.map(([key, { make }]) => [key, make()])),
});

const functions = [
  ...callables(engine, {}).filter(([name]) => !/Error$|^openDevice$|^Tensor\b/.test(name)),
  ...callables(nn, {}),
  ...callables(flow, {}),
  ...callables(evaluation, {}),
  ...methodsOf('tensor', Tensor.prototype, operands.leaf),
  ...methodsOf('draw', flow.Draw.prototype, () => new flow.Draw({ seed: 1 })),
];

/** The methods of a class, each called on a new object. */
function methodsOf(name: string, prototype: object, make: () => object) {
  return Object.getOwnPropertyNames(prototype)
    .filter((key) => key !== 'constructor' && !Object.getOwnPropertyDescriptor(prototype, key)?.get)
    .map((key): ReturnType<typeof callables>[number] => [
      `${name}.${key}`,
      (...values) => (make() as Record<string, (...v: readonly unknown[]) => unknown>)[key](...values),
    ]);
}

/** Ordinary mistakes: arguments that are missing, of the wrong kind, or beyond bounds. */
const x = operand('matrix');
const mistakes: Plan[][] = [
  [],
  [x],
  [x, x],
  [x, plain(undefined)],
  [x, plain(-1)],
  [x, plain(Number.NaN)],
  [x, plain([65536, 65536])],
  [x, plain([-1, -1, -1])],
  [x, plain({})],
  [x, plain(null)],
  [plain(null)],
  [x, plain([0, 0]), plain([1e9, 1e9])],
  [x, plain('a')],
  [x, plain([0.5])],
  [list([x, x]), plain(5)],
  [list([x, plain(undefined)]), plain(0)],
  [x, x, plain(undefined)],
  [x, x, x, x],
  [x, x, plain({})],
];

const numbers = [-1, 0, 1, 2, 3, 4, 8, 0.5, -0, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 53, 1e300];
const words = ['f32', 'i32', 'bf16', 'f64', 'mean', 'avg', 'silu', 'up', 'euler', 'rk45', 'exact', 'swish', 'axis'];
const optionNames = [
  ...['axis', 'axes', 'keepDims', 'dim', 'bias', 'stride', 'padding', 'add', 'residual', 'scale', 'groups', 'eps'],
  ...[
    'seed',
    'first',
    'draw',
    'stream',
    'origin',
    'shape',
    'dtype',
    'device',
    'requiresGrad',
    'reduction',
    'kernel',
    'up',
  ],
  ...['min', 'max', 'transposeA', 'cotangent', 'retainGraph', 'steps', 'solver', 'tolerance', 'count', 'from', 'to'],
  ...['heads', 'causal', 'mask', 'dilation', 'outputPadding', 'weight', 'labelSmoothing', 'delta', 'beta', 'margin'],
  ...['dropout', 'activation', 'resample', 'p', 'batch', 'microBatch', 'epsilon', 'onStep', 'signal', 'latents'],
  ...['offset', 'start', 'end', 'columns', 'upsample', 'endpoint', 'base', 'rate', 'low', 'high', 'indexing'],
];
const leafPlan: fc.Arbitrary<Plan> = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...operandNames).map(operand) },
  { weight: 2, arbitrary: fc.constantFrom(...numbers).map(plain) },
  { weight: 1, arbitrary: fc.constantFrom<unknown>(...words, device, (t: unknown) => t).map(plain) },
  { weight: 1, arbitrary: fc.nat(garbage.length - 1).map((i) => plain(garbage[i])) },
);
const smallList = fc.array(fc.constantFrom(-1, 0, 1, 2, 3, 4, 8, 0.5), { maxLength: 4 }).map(plain);
const planned: fc.Arbitrary<Plan> = fc.oneof(
  { weight: 4, arbitrary: leafPlan },
  { weight: 2, arbitrary: smallList },
  { weight: 1, arbitrary: fc.array(leafPlan, { maxLength: 3 }).map(list) },
  {
    weight: 2,
    arbitrary: fc
      .array(fc.tuple(fc.constantFrom(...optionNames), fc.oneof(leafPlan, smallList)), { maxLength: 3 })
      .map(record),
  },
);

/** Valid calls, in which one argument or option at a time is replaced. */
const [images, weight, vector, four, index, mask] = (
  ['images', 'weight', 'vector', 'four', 'index', 'mask'] as const
).map(operand);
const velocity = plain((at: engine.Tensor) => engine.mul(at, 0.5));
const path = { shape: plain([8]), count: plain(4), seed: plain(1) };
const options = (entries: Record<string, Plan>) => record(Object.entries(entries));
const right: Record<string, Plan[][]> = {
  conv2d: [
    [
      images,
      weight,
      options({ bias: four, stride: plain(1), padding: plain([1, 1]), residual: images, scale: plain(2) }),
    ],
    [images, weight, options({ padding: plain([0, 1, 0, 1]), upsample: plain(2), stride: plain(2) })],
  ],
  conv1d: [
    [randnPlan([2, 9, 4]), randnPlan([6, 3, 2]), options({ stride: plain(2), dilation: plain(1), groups: plain(2) })],
  ],
  convTranspose2d: [
    [images, weight, options({ bias: four, stride: plain(2), outputPadding: plain([1, 0]), dilation: plain(1) })],
  ],
  convTranspose1d: [[randnPlan([2, 9, 4]), randnPlan([4, 3, 2]), options({ groups: plain(2), padding: plain(1) })]],
  matmul: [[x, x, options({ transposeA: plain(true), transposeB: plain(false) })]],
  attention: [
    [randnPlan([2, 3, 4]), randnPlan([2, 5, 4]), randnPlan([2, 5, 6]), options({ scale: plain(1) })],
    [
      ...[randnPlan([2, 8, 4]), randnPlan([2, 8, 4]), randnPlan([2, 8, 6])],
      options({ heads: plain(2), causal: plain(true), mask }),
    ],
  ],
  groupNorm: [
    [
      images,
      four,
      four,
      options({ groups: plain(2), eps: plain(1e-5), activation: plain('silu'), resample: plain('up') }),
    ],
    [
      images,
      four,
      four,
      options({ groups: plain(2), dropout: options({ p: plain(0.5), seed: plain(1), stream: plain(2) }) }),
    ],
    [list([images, images]), operand('eight'), operand('eight'), options({ groups: plain(4) })],
  ],
  maxPool2d: [[images, options({ kernel: plain(2), stride: plain([1, 2]), padding: plain(1) })]],
  averagePool2d: [[images, options({ kernel: plain([2, 2]), countIncludePad: plain(false) })]],
  adaptiveAveragePool2d: [[images, plain([2, 3])]],
  adaptiveMaxPool2d: [[images, plain(3)]],
  averagePool1d: [[randnPlan([2, 9, 4]), options({ kernel: plain(2), countIncludePad: plain(false) })]],
  maxPool1d: [[randnPlan([2, 9, 4]), options({ kernel: plain(3), stride: plain(2), padding: plain(1) })]],
  firResample: [[images, plain([1, 3, 3, 1]), options({ up: plain(2), down: plain(1), padding: plain([2, 1]) })]],
  firUpsample: [[images, plain([1, 3, 3, 1]), plain(1)]],
  resizeBilinear: [[images, plain([3, 5])]],
  resizeBicubic: [[images, plain([3, 5])]],
  resizeNearest: [[images, plain([3, 5])]],
  upsampleNearest: [[images, plain(2)]],
  sum: [[x, options({ axes: plain([0, 1]), keepDims: plain(true) })]],
  argmax: [[x, options({ axis: plain(1), keepDims: plain(true) })]],
  norm: [[x, options({ ord: plain(3), axes: plain([0]), keepDims: plain(true) })]],
  variance: [[x, options({ axis: plain(0), correction: plain(0), keepDims: plain(true) })]],
  median: [[x, options({ axis: plain(1), keepDims: plain(true) })]],
  cumsum: [[x, options({ axis: plain(1), reverse: plain(true) })]],
  cumprod: [[images, options({ axes: plain([2]), reverse: plain(false) })]],
  linearRecurrence: [[x, x, options({ axis: plain(0), reverse: plain(true) })]],
  sort: [[x, options({ axis: plain(0), descending: plain(true) })]],
  argsort: [[index, options({ axis: plain(-1) })]],
  topK: [[x, plain(3), options({ axis: plain(0), largest: plain(false) })]],
  searchSorted: [[vector, x, options({ side: plain('right') })]],
  binCount: [[index, options({ length: plain(3) })]],
  unique: [[x]],
  softmax: [[x, options({ axis: plain(0) })]],
  crossEntropy: [
    [randnPlan([3, 4]), index, options({ reduction: plain('none') })],
    [randnPlan([3, 4]), index, options({ labelSmoothing: plain(0.1), weight: four })],
  ],
  nllLoss: [[randnPlan([3, 4]), index, options({ weight: four, reduction: plain('sum') })]],
  huberLoss: [[x, x, options({ delta: plain(2), reduction: plain('none') })]],
  smoothL1Loss: [[x, x, options({ beta: plain(0) })]],
  binaryCrossEntropyWithLogits: [[x, x, options({ weight: operand('eight'), positiveWeight: x })]],
  klDivergence: [[x, x, options({ logTarget: plain(true), reduction: plain('batchMean') })]],
  cosineSimilarity: [[x, x, options({ axis: plain(0), eps: plain(1e-6) })]],
  cosineEmbeddingLoss: [[x, x, operand('eight'), options({ margin: plain(0.5) })]],
  mse: [[x, x, options({ reduction: plain('sum') })]],
  gather: [[x, index]],
  oneHot: [[index, plain(4)]],
  pad: [
    [
      x,
      plain([
        [1, 0],
        [0, 2],
      ]),
      plain(3),
    ],
  ],
  slice: [
    [x, plain([0, 1]), plain([8, 4])],
    [x, plain([-1, null]), plain([undefined, -2]), options({ steps: plain([-2, 3]) })],
  ],
  stack: [[list([x, x]), plain(-1)]],
  squeeze: [[operand('deep'), options({ axes: plain([1, 3]) })]],
  unsqueeze: [[x, plain([0, -1])]],
  flatten: [[images, options({ start: plain(1), end: plain(2) })]],
  unflatten: [[x, plain(1), plain([2, -1])]],
  moveAxis: [[images, plain([0, 1]), plain([-1, 0])]],
  swapAxes: [[images, plain(1), plain(-1)]],
  flip: [[images, options({ axes: plain([1, 2]) })]],
  roll: [[images, plain([1, -1]), options({ axes: plain([1, 2]) })]],
  select: [[x, plain(3), options({ axis: plain(1) })]],
  chunk: [[x, plain(3), plain(0)]],
  tile: [[x, plain([2, 1, 3])]],
  repeatInterleave: [[x, plain(2), options({ axis: plain(1) })]],
  meshgrid: [[list([vector, four]), options({ indexing: plain('ij') })]],
  pixelShuffle: [[images, plain(2)]],
  pixelUnshuffle: [[images, plain(2)]],
  unfold: [[images, options({ kernel: plain([2, 3]), stride: plain(2), padding: plain(1), dilation: plain(1) })]],
  tril: [[x, options({ offset: plain(-1) })]],
  triu: [[operand('half'), options({ offset: plain(2) })]],
  diag: [[vector, options({ offset: plain(1) })]],
  diagonal: [[images, options({ offset: plain(-1) })]],
  trace: [[x, options({ offset: plain(1) })]],
  clone: [[operand('half')]],
  fullLike: [[x, plain(3), options({ dtype: plain('i32'), device: plain(device) })]],
  randnLike: [[x, options({ seed: plain(1), requiresGrad: plain(true) })]],
  linspace: [[plain(0), plain(1), plain(8), options({ endpoint: plain(false) })]],
  logspace: [[plain(0), plain(1), plain(8), options({ base: plain(2) })]],
  eye: [[plain(4), options({ columns: plain(3), offset: plain(1), dtype: plain('u8') })]],
  randint: [[plain(-3), plain(8), plain([2, 3]), options({ seed: plain(1), device: plain(device) })]],
  exponential: [[plain([2, 3]), options({ seed: plain(1), rate: plain(2) })]],
  truncatedNormal: [[plain([2, 3]), options({ seed: plain(1), low: plain(-1), high: plain(3) })]],
  permutation: [[plain(8), options({ seed: plain(1), first: plain(2), stream: plain(3) })]],
  bernoulli: [[sigmoidPlan(), plain([8, 8]), options({ seed: plain(1) })]],
  categorical: [[x, options({ seed: plain(1), first: plain(2) })]],
  split: [[x, plain([3, 5]), plain(0)]],
  concat: [[list([x, x, x]), plain(1)]],
  permute: [[images, plain([3, 2, 1, 0])]],
  reshape: [[x, plain([-1, 4])]],
  broadcastTo: [[vector, plain([2, 2, 3])]],
  where: [[mask, x, plain(0)]],
  add: [[x, x]],
  clamp: [[x, options({ min: plain(-1), max: plain(1) })]],
  cast: [[x, plain('i32')]],
  dropout: [[x, plain(0.5), options({ seed: plain(1), first: plain(2), stream: plain(3) })]],
  randn: [
    [plain([2, 3]), options({ seed: plain(1), first: plain(0), device: plain(device), requiresGrad: plain(true) })],
  ],
  tensor: [
    [
      plain([
        [1, 2],
        [3, 4],
      ]),
      options({ shape: plain([4]), dtype: plain('i32') }),
    ],
  ],
  full: [[plain([2, 2]), plain(7), options({ dtype: plain('u8') })]],
  arange: [[plain(0), plain(8), plain(2)]],
  gradients: [[sumPlan(), list([operand('leaf')]), options({ retainGraph: plain(true) })]],
  checkpoint: [[plain((t: engine.Tensor) => engine.exp(t)), list([operand('leaf')])]],

  'tensor.write': [[plain(new Float32Array(64))]],
  Linear: [[plain(3), plain(4)]],
  Conv2d: [[plain(4), plain(4), plain(3)]],
  MLP: [[plain([3, 8, 2])]],
  sinusoidalEmbedding: [[vector, plain(8)]],
  activate: [[x, plain('elu')]],
  interpolate: [[x, x, operand('eight')]],
  pseudoHubers: [[x, x, x, plain(0.1)]],
  rectifiedFlowLoss: [[velocity, x, options({ seed: plain(1), x0: x, t: operand('eight') })]],
  solveFixed: [[velocity, x, options({ solver: plain('heun'), steps: plain(2), from: plain(0), to: plain(1) })]],
  solveRk45: [[velocity, x, options({ tolerance: plain(1e-2), from: plain(0), to: plain(1) })]],
  solveStochastic: [[velocity, x, options({ steps: plain(2), sigmaVariance: plain(1), seed: plain(1) })]],
  solve: [[velocity, x, options({ solver: plain('euler'), steps: plain(2), epsilon: plain(0) })]],
  sample: [
    [velocity, options({ ...path, solver: plain('euler'), steps: plain(2), batch: plain(2), microBatch: plain(1) })],
  ],
  encode: [[velocity, plain(new Float32Array(16)), options({ shape: plain([8]), solver: plain('rk45') })]],
  straightness: [[velocity, options({ ...path, steps: plain(2) })]],
  trajectory: [[velocity, options({ ...path, steps: plain(4), stops: plain(2) })]],
  likelihood: [
    [
      velocity,
      plain(new Float32Array(16)),
      options({ shape: plain([8]), trace: plain('exact'), tolerance: plain(0.1) }),
    ],
  ],
  pathStatistics: [[velocity, x, options({ steps: plain(2) })]],
  'draw.normal': [[plain([2, 3]), plain(1)]],
  'draw.noise': [[plain([2, 3]), options({ scale: plain(2), stream: plain(1) })]],
  'draw.times': [[plain(4), options({ law: plain('logit_normal'), mean: plain(0), stream: plain(1) })]],
  scheduledTimes: [[plain('t0'), plain(4), plain(new flow.Draw({ seed: 1 }))]],
};

function randnPlan(shape: number[]): Plan {
  return { text: `randn([${shape}])`, make: () => randn(shape, { seed: 9 }) };
}

function sigmoidPlan(): Plan {
  return { text: 'sigmoid(matrix)', make: () => engine.sigmoid(operands.matrix()) };
}

function sumPlan(): Plan {
  return { text: 'sum(exp(leaf))', make: () => engine.sum(engine.exp(operands.leaf())) };
}

/** A valid call with an argument or an option replaced, or with an extra option. */
const damaged = fc
  .tuple(
    fc.constantFrom(...Object.keys(right)),
    fc.nat(),
    fc.nat(),
    planned,
    fc.constantFrom(...optionNames),
    fc.boolean(),
  )
  .map(([name, which, place, replacement, option, inside]): [(typeof functions)[number], Plan[]] => {
    const one = functions.find(([known]) => known === name);
    if (!one) throw new Error(`there is no function ${name}`);
    const plans = [...right[name][which % right[name].length]];
    const at = place % plans.length;
    plans[at] = inside ? withOption(plans[at], option, replacement) : replacement;
    return [one, plans];
  });

function withOption(plan: Plan, option: string, value: Plan): Plan {
  // Two billion steps are a valid request that would take too long, so it is not tried.
  if (option === 'steps' && value.text === String(2 ** 31)) return plan;
  return {
    text: `{ ...${plan.text}, ${option}: ${value.text} }`,
    make: () => ({ ...(plan.make() as object), [option]: value.make() }),
  };
}

const journal = openSync(journalPath, 'w');
const report: ScanReport = { functions: functions.length, calls: 0, refused: 0, faults: [] };
const LIMIT = 5000;

/** @param accepted whether a refusal also counts as a fault */
async function attempt(
  [name, call]: (typeof functions)[number],
  plans: readonly Plan[],
  accepted = false,
): Promise<void> {
  const text = `${name}(${plans.map((plan) => plan.text).join(', ')})`;
  writeSync(journal, `${text.padEnd(400).slice(0, 400)}\n`, 0);
  report.calls++;
  const open = engine.openScope();
  let timer: NodeJS.Timeout | undefined;
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(reject, LIMIT, new Error('did not end'));
    });
    const result = open.run(() => call(...plans.map(({ make }) => make())));
    await Promise.race([result instanceof Promise ? result : undefined, ...(result instanceof Promise ? [late] : [])]);
  } catch (error) {
    if (error instanceof engine.RectiflowError && !accepted) report.refused++;
    else if (!(error instanceof OwnError)) report.faults.push(`${text}: ${(error as Error)?.stack ?? error}`);
  } finally {
    clearTimeout(timer);
    open.close();
  }
}

for (const one of functions) for (const plans of mistakes) await attempt(one, plans);
const calls = fc.tuple(fc.constantFrom(...functions), fc.array(planned, { maxLength: 5 }));
for (const [one, plans] of fc.sample(calls, { seed: Number(seed), numRuns: Number(runs) })) await attempt(one, plans);
for (const [one, plans] of fc.sample(damaged, { seed: Number(seed), numRuns: Number(runs) })) await attempt(one, plans);
for (const [name, calls] of Object.entries(right))
  for (const plans of calls)
    await attempt(functions.find(([known]) => known === name) as (typeof functions)[number], plans, true);
// Refused calls must not have changed the shared operands.
if (Math.abs(keep(engine.sum(operands.matrix())).item() - engine.sum(operands.matrix()).item()) > 0)
  report.faults.push('values changed');
closeSync(journal);
console.log(JSON.stringify(report));
process.exit(0);
