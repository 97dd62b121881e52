// Random computations with checkpointed parts, as data: they run as a plain graph or with checkpoint(). Leaves and
// constants are -1, 0 and 1 and no op multiplies two results, so that every value and every gradient is a small whole number:
// sums are exact in any order, and two ways to run a computation must be bit-identical.
import type { Device } from '../../src/device/device.ts';
import {
  add,
  argmax,
  broadcastTo,
  cast,
  checkpoint,
  concat,
  greater,
  mul,
  neg,
  noGrad,
  relu,
  reshape,
  slice,
  split,
  sub,
  sum,
  type Tensor,
  tensor,
} from '../../src/index.ts';
import type { Pick } from '../cases/case.ts';

/** Operands are indices into the list of values so far: the sources (constants, then leaves), inputs, results. */
export type Step =
  | { op: keyof typeof simple; a: number; b: number; source: number }
  | { op: 'part'; inputs: number[]; body: Step[]; outputs: number[] };

export interface Program {
  steps: Step[];
  /** The values whose weighted sum is the loss. */
  ends: number[];
}

const CONSTANTS = 2;
const SOURCES = CONSTANTS + 3;
const SHAPE = [2, 4];

/** `source` is a leaf or a constant. */
const simple = {
  add: (a: Tensor, b: Tensor) => add(a, b),
  sub: (a: Tensor, b: Tensor) => sub(a, b),
  mul: (a: Tensor, _: Tensor, source: Tensor) => mul(a, source),
  relu: (a: Tensor) => relu(a),
  turned: (a: Tensor) => concat(split(a, 2, 1).reverse(), 1),
  cut: (a: Tensor, b: Tensor) => concat([slice(a, [0, 1], [2, 3]), slice(b, [0, 0], [2, 2])], 1),
  neg: (a: Tensor) => neg(a),
  unrecorded: (a: Tensor, b: Tensor) => noGrad(() => add(a, b)),
  compared: (a: Tensor, b: Tensor) => cast(greater(a, b), 'f32'),
  placed: (a: Tensor) => broadcastTo(reshape(cast(argmax(a, { axis: 1 }), 'f32'), [2, 1]), SHAPE),
};
/** The ops to draw from; those that propagate gradients occur more often. */
const names = ['add', 'sub', 'mul', 'add', 'mul', ...Object.keys(simple)] as (keyof typeof simple)[];

function drawSteps(pick: Pick, inputs: number, most: number, depth: number): Step[] {
  const steps: Step[] = [];
  let count = SOURCES + inputs;
  // Later results are drawn more often.
  const place = () => Math.max(pick(0, count - 1), pick(0, count - 1));
  for (let left = pick(2, most); left > 0; left--) {
    if (depth === 0 || pick(0, 2) > 0) {
      steps.push({ op: names[pick(0, names.length - 1)], a: place(), b: place(), source: pick(0, SOURCES - 1) });
      count++;
      continue;
    }
    const given = Array.from({ length: pick(1, 3) }, place);
    const body = drawSteps(pick, given.length, 4, depth - 1);
    const made =
      SOURCES + given.length + body.reduce((n, step) => n + (step.op === 'part' ? step.outputs.length : 1), 0);
    // The outputs of a part are among its inputs and results, and may repeat.
    const outputs = Array.from({ length: pick(1, 3) }, () => pick(SOURCES, made - 1));
    steps.push({ op: 'part', inputs: given, body, outputs });
    count += outputs.length;
  }
  return steps;
}

export function drawProgram(pick: Pick): Program {
  const steps = drawSteps(pick, 0, 6, 2);
  const count = SOURCES + steps.reduce((n, step) => n + (step.op === 'part' ? step.outputs.length : 1), 0);
  return { steps, ends: Array.from({ length: pick(1, 3) }, () => pick(SOURCES, count - 1)) };
}

/** Constants and leaves, which are the same each time. */
export function sourcesOn(device: Device): Tensor[] {
  return Array.from({ length: SOURCES }, (_, i) => {
    const values = Float32Array.from({ length: 8 }, (_, j) => ((i * 7 + j * (i + 2)) % 3) - 1);
    return tensor(values, { shape: SHAPE, device, requiresGrad: i >= CONSTANTS });
  });
}

type Checkpoint = (fn: (...inputs: Tensor[]) => Tensor[], inputs: readonly Tensor[]) => Tensor[];
export const asPart: Checkpoint = (fn, inputs) => checkpoint(fn, inputs);
export const inline: Checkpoint = (fn, inputs) => fn(...inputs);

function runSteps(
  steps: readonly Step[],
  sources: readonly Tensor[],
  values: Tensor[],
  part: Checkpoint,
  replace: (made: Tensor, place: number) => Tensor = (made) => made,
): Tensor[] {
  for (const step of steps) {
    const results =
      step.op === 'part'
        ? part(
            (...inputs) => {
              const inner = runSteps(step.body, sources, [...sources, ...inputs], part);
              return step.outputs.map((at) => inner[at]);
            },
            step.inputs.map((at) => values[at]),
          )
        : [simple[step.op](values[step.a], values[step.b], sources[step.source])];
    for (const made of results) values.push(replace(made, values.length));
  }
  return values;
}

/** All values of the outermost level, and the loss. @param replace a result by another of its shape */
export function runProgram(
  { steps, ends }: Program,
  sources: readonly Tensor[],
  part: Checkpoint,
  replace?: (made: Tensor, place: number) => Tensor,
): { values: Tensor[]; loss: Tensor } {
  const values = runSteps(steps, sources, [...sources], part, replace);
  const weights = Float32Array.from({ length: 8 }, (_, j) => (j % 3) + 1);
  const weight = tensor(weights, { shape: SHAPE, device: sources[0].device });
  const loss = ends.map((end, i) => sum(mul(values[end], i === 0 ? weight : 1)));
  return { values, loss: loss.reduce((a, b) => add(a, b)) };
}
