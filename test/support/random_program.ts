// A random graph of many ops, built on a tape in float64 while it is drawn, so that values stay of moderate size and away
// from kinks. The engine then runs the same steps.
import { checkpoint, type Tensor } from '../../src/index.ts';
import { layers, refuseLarge } from './graph_layers.ts';
import { moves } from './graph_moves.ts';
import { type Drawn, ops } from './graph_ops.ts';
import { integer, type Random } from './random.ts';
import { type Shape, sizeOf, Tape, TooNear, Value64 } from './tape64.ts';

const table = { ...ops, ...moves, ...layers };
export const names = Object.keys(table);
/** Most graphs begin with one of these. */
const shapes: readonly Shape[] = [[3], [2, 3], [3, 2], [4, 4], [2, 3, 4], [1, 3, 2], [1, 4, 4, 2], [2, 3, 3, 1]];
const STEPS = 8;

export interface Leaf {
  shape: Shape;
  data: Float64Array;
}

export interface GraphStep {
  name: string;
  /** Places in the list of values: leaves first, then results; a weight is a leaf. */
  operands: number[];
  drawn: Drawn;
  /** Whether the engine runs it inside checkpoint(). */
  again: boolean;
}

export interface Graph {
  leaves: Leaf[];
  steps: GraphStep[];
  /** Weights of the results in the loss; a result that counts is -1 less the index of its step. */
  ends: { step: number; weights: Float64Array }[];
}

export function drawGraph(draw: Random): Graph {
  const pick = (low: number, high: number) => integer(draw, low, high);
  const normal = () => Math.fround(Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw()));
  const leaves: Leaf[] = [];
  const newLeaf = (shape: Shape): number => {
    leaves.push({ shape, data: Float64Array.from({ length: sizeOf(shape) }, normal) });
    return leaves.length - 1;
  };
  const start = shapes[pick(0, shapes.length - 1)];
  for (let i = pick(1, 2); i > 0; i--) newLeaf(start);
  const tape = new Tape();
  const values = new Map(leaves.map(({ shape, data }, i) => [i, new Value64(shape, data)]));
  const steps: GraphStep[] = [];
  /** Results are numbered from -1 downwards, because leaves are added while results are made. */
  const placeOf = (step: number) => -1 - step;
  for (let tries = 0; steps.length < STEPS && tries < 80; tries++) {
    const name = names[pick(0, names.length - 1)];
    const { operands: count, draw: drawOp } = table[name];
    const places = [...values.keys()];
    const operands = Array.from(
      { length: count },
      () => places[Math.max(pick(0, places.length - 1), pick(0, places.length - 1))],
    );
    const given = operands.map((place) => values.get(place) as Value64);
    const drawn = given.every(({ rank }) => rank > 0) ? drawOp(pick, ...given.map(({ shape }) => shape)) : undefined;
    if (!drawn) continue;
    const weights = (drawn.weights ?? []).map(
      (shape) => new Value64(shape, Float64Array.from({ length: sizeOf(shape) }, normal)),
    );
    let y: Value64;
    try {
      y = drawn.reference(tape, ...given, ...weights);
      refuseLarge(y);
    } catch (error) {
      if (!(error instanceof TooNear)) throw error;
      continue;
    }
    if (y.data.length > 128 || y.data.length === 0 || y.rank > 4 || y.rank === 0) continue;
    for (const weight of weights) {
      leaves.push({ shape: weight.shape, data: weight.data });
      values.set(leaves.length - 1, weight);
      operands.push(leaves.length - 1);
    }
    values.set(placeOf(steps.length), y);
    steps.push({ name, operands, drawn, again: pick(0, 5) === 0 });
  }
  const used = new Set(steps.flatMap(({ operands }) => operands));
  const ends = steps.flatMap((_, step) => {
    if (used.has(placeOf(step)) && pick(0, 3) > 0) return [];
    const { data } = values.get(placeOf(step)) as Value64;
    return [{ step, weights: Float64Array.from(data, normal) }];
  });
  return { leaves, steps, ends };
}

/** What a tape gives: the results, and the gradients of the leaves. */
export function runOnTape({ leaves, steps, ends }: Graph, tape: Tape) {
  const sources = leaves.map(({ shape, data }) => new Value64(shape, data));
  const results: Value64[] = [];
  for (const { operands, drawn } of steps) {
    const given = operands.map((place) => (place < 0 ? results[-1 - place] : sources[place]));
    results.push(drawn.reference(tape, ...given));
  }
  tape.backward(ends.map(({ step, weights }) => [results[step], weights] as const));
  return { results: results.map(({ data }) => data), gradients: sources.map(({ grad }) => grad) };
}

/** The results of the steps on the engine. */
export function runOnEngine({ steps }: Graph, leaves: readonly Tensor[]): Tensor[] {
  const results: Tensor[] = [];
  for (const { operands, drawn, again } of steps) {
    const given = operands.map((place) => (place < 0 ? results[-1 - place] : leaves[place]));
    results.push(again ? checkpoint((...xs) => drawn.run(...xs), given) : drawn.run(...given));
  }
  return results;
}

export function describeGraph({ leaves, steps }: Graph): string {
  const shown = leaves.map(({ shape }) => `[${shape}]`).join(' ');
  return `leaves ${shown}; ${steps.map(({ name, operands }) => `${name}(${operands})`).join(' ')}`;
}
