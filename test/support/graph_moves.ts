// The ops of random graphs that move elements, and those that join and scatter them: see graph_ops.ts.

import type { Tensor } from '../../src/index.ts';
import * as rf from '../../src/index.ts';
import type { Pick } from '../cases/case.ts';
import { type GraphOp, someAxis } from './graph_ops.ts';
import { eachIndex, type Shape, sizeOf, type Tape, type Value64 } from './tape64.ts';

const moves: Record<string, GraphOp> = {};

/** Moves elements: `from` gives the place in x of each element of the result, or undefined for a zero. */
type Move = { run(x: Tensor): Tensor; shape: Shape; from(at: readonly number[]): readonly number[] | undefined };

function movement(name: string, move: (pick: Pick, shape: Shape) => Move | undefined): void {
  moves[name] = {
    operands: 1,
    draw: (pick, given) => {
      const drawn = move(pick, given);
      if (!drawn || sizeOf(drawn.shape) > 128) return undefined;
      const { run, shape, from } = drawn;
      return { run, reference: (tape, x) => tape.choose(x, shape, from) };
    },
  };
}

const changed = (shape: Shape, axis: number, extent: number) => shape.map((old, a) => (a === axis ? extent : old));
const at = (place: readonly number[], axis: number, i: number) => place.map((old, a) => (a === axis ? i : old));

movement('flip', (pick, shape) => {
  const { axis, named } = someAxis(pick, shape);
  return { run: (x) => rf.flip(x, { axes: named }), shape, from: (p) => at(p, axis, shape[axis] - 1 - p[axis]) };
});
movement('roll', (pick, shape) => {
  const { axis, named } = someAxis(pick, shape);
  const [by, n] = [pick(-3, 3), shape[axis]];
  return {
    run: (x) => rf.roll(x, by, { axes: named }),
    shape,
    from: (p) => at(p, axis, (((p[axis] - by) % n) + n) % n),
  };
});
movement('tile', (pick, shape) => {
  const repeats = shape.map(() => pick(1, 2));
  const made = shape.map((extent, axis) => extent * repeats[axis]);
  return { run: (x) => rf.tile(x, repeats), shape: made, from: (p) => p.map((i, axis) => i % shape[axis]) };
});
movement('repeatInterleave', (pick, shape) => {
  const { axis, named } = someAxis(pick, shape);
  const made = changed(shape, axis, shape[axis] * 2);
  return {
    run: (x) => rf.repeatInterleave(x, 2, { axis: named }),
    shape: made,
    from: (p) => at(p, axis, p[axis] >> 1),
  };
});
movement('slice', (pick, shape) => {
  const starts = shape.map((extent) => pick(0, extent - 1));
  const steps = shape.map(() => pick(1, 2));
  const made = shape.map((extent, axis) => Math.ceil((extent - starts[axis]) / steps[axis]));
  return {
    run: (x) => rf.slice(x, starts, shape, { steps }),
    shape: made,
    from: (p) => p.map((i, axis) => starts[axis] + i * steps[axis]),
  };
});
movement('pad', (pick, shape) => {
  const widths = shape.map(() => [pick(0, 1), pick(0, 1)] as const);
  const made = shape.map((extent, axis) => extent + widths[axis][0] + widths[axis][1]);
  const from = (p: readonly number[]) => {
    const source = p.map((i, axis) => i - widths[axis][0]);
    return source.every((i, axis) => i >= 0 && i < shape[axis]) ? source : undefined;
  };
  return { run: (x) => rf.pad(x, widths), shape: made, from };
});
movement('permute', (pick, shape) => {
  const order = shape.map((_, axis) => axis);
  for (let i = order.length - 1; i > 0; i--) {
    const j = pick(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return {
    run: (x) => rf.permute(x, order),
    shape: order.map((axis) => shape[axis]),
    from: (p) => shape.map((_, axis) => p[order.indexOf(axis)]),
  };
});
movement('unsqueeze', (pick, shape) => {
  if (shape.length > 3) return undefined;
  const axis = pick(0, shape.length);
  return { run: (x) => rf.unsqueeze(x, axis), shape: shape.toSpliced(axis, 0, 1), from: (p) => p.toSpliced(axis, 1) };
});
movement('squeeze', (_, shape) => {
  const axis = shape.indexOf(1);
  if (axis < 0 || shape.length < 2) return undefined;
  return {
    run: (x) => rf.squeeze(x, { axes: axis }),
    shape: shape.toSpliced(axis, 1),
    from: (p) => p.toSpliced(axis, 0, 0),
  };
});
const triangle = (lower: boolean) => (pick: Pick, shape: Shape) => {
  if (shape.length < 2) return undefined;
  const offset = pick(-1, 1);
  const n = shape.length;
  const keeps = (p: readonly number[]) => (lower ? p[n - 1] - p[n - 2] <= offset : p[n - 1] - p[n - 2] >= offset);
  const run = (x: Tensor) => (lower ? rf.tril : rf.triu)(x, { offset });
  return { run, shape, from: (p: readonly number[]) => (keeps(p) ? p : undefined) };
};
movement('tril', triangle(true));
movement('triu', triangle(false));
movement('gather', (pick, shape) => {
  const rows = Array.from({ length: pick(1, 4) }, () => pick(0, shape[0] - 1));
  const run = (x: Tensor) => rf.gather(x, rf.tensor(rows, { dtype: 'i32', device: x.device }));
  return { run, shape: changed(shape, 0, rows.length), from: (p) => at(p, 0, rows[p[0]]) };
});
movement('diagEmbed', (_, shape) => {
  if (shape.length > 3) return undefined;
  const made = [...shape, shape[shape.length - 1]];
  const n = shape.length;
  return { run: rf.diagEmbed, shape: made, from: (p) => (p[n] === p[n - 1] ? p.slice(0, -1) : undefined) };
});

moves.reshape = {
  operands: 1,
  draw: (pick, shape) => {
    const size = sizeOf(shape);
    const divisors = Array.from({ length: size }, (_, i) => i + 1).filter((d) => size % d === 0);
    const first = divisors[pick(0, divisors.length - 1)];
    const made = [first, size / first];
    return { run: (x) => rf.reshape(x, made), reference: (tape, x) => tape.reshape(x, made) };
  },
};
moves.concat = {
  operands: 2,
  draw: (pick, a, b) => {
    if (a.length !== b.length || a.length === 0) return undefined;
    const { axis, named } = someAxis(pick, a);
    if (a.some((extent, i) => i !== axis && extent !== b[i])) return undefined;
    const shape = changed(a, axis, a[axis] + b[axis]);
    const reference = (tape: Tape, x: Value64, y: Value64) =>
      tape.add(
        tape.choose(x, shape, (p) => (p[axis] < a[axis] ? p : undefined)),
        tape.choose(y, shape, (p) => (p[axis] < a[axis] ? undefined : changed(p, axis, p[axis] - a[axis]))),
      );
    return { run: (x, y) => rf.concat([x, y], named), reference };
  },
};
moves.scatterAdd = {
  operands: 1,
  draw: (pick, shape) => {
    const { axis, named } = someAxis(pick, shape);
    const made = changed(shape, axis, 2);
    const index: number[] = [];
    eachIndex(shape, () => index.push(pick(0, 1)));
    const run = (x: Tensor) => {
      const to = rf.tensor(index, { shape, dtype: 'i32', device: x.device });
      return rf.scatterAdd(rf.zeros(made, { device: x.device }), to, x, { axis: named });
    };
    let next = 0;
    const reference = (tape: Tape, x: Value64) => {
      next = 0;
      return tape.sumInto(x, made, (p) => changed(p, axis, index[next++]));
    };
    return { run, reference };
  },
};

export { moves };
