// The ops of random graphs that have weights, and those of images: see graph_ops.ts.

import type { Tensor } from '../../src/index.ts';
import * as rf from '../../src/index.ts';
import type { GraphOp } from './graph_ops.ts';
import { erf } from './reference/math.ts';
import { type Shape, sizeOf, type Tape, TooNear, type Value64 } from './tape64.ts';

const layers: Record<string, GraphOp> = {};

/** x of at least two axes as [rows, columns]. */
const asMatrix = (shape: Shape): [number, number] => [sizeOf(shape.slice(0, -1)), shape[shape.length - 1]];

layers.linear = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length < 2) return undefined;
    const [rows, inputs] = asMatrix(shape);
    const outputs = pick(1, 4);
    return {
      weights: [[outputs, inputs], [outputs]],
      run: (x, weight, bias) => rf.matmul(x, weight, { transposeB: true, bias }),
      reference: (tape, x, weight, bias) => {
        const y = tape.matmul(tape.reshape(x, [rows, inputs]), tape.swapLast(weight));
        return tape.add(tape.reshape(y, [...shape.slice(0, -1), outputs]), bias);
      },
    };
  },
};
layers.matmul = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length < 2) return undefined;
    const transposeA = pick(0, 1) === 1;
    const k = shape[shape.length - (transposeA ? 2 : 1)];
    const weight = [...shape.slice(0, -2), k, pick(1, 3)];
    return {
      weights: [weight],
      run: (a, b) => rf.matmul(a, b, { transposeA }),
      reference: (tape, a, b) => tape.matmul(transposeA ? tape.swapLast(a) : a, b),
    };
  },
};
layers.einsum = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length !== 2) return undefined;
    return {
      weights: [[shape[0], pick(1, 3)]],
      run: (a, b) => rf.einsum('ij,ik->kj', a, b),
      reference: (tape, a, b) => tape.matmul(tape.swapLast(b), a),
    };
  },
};
layers.outer = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length !== 1) return undefined;
    const n = pick(1, 4);
    return {
      weights: [[n]],
      run: rf.outer,
      reference: (tape, a, b) => tape.mul(tape.reshape(a, [shape[0], 1]), tape.reshape(b, [1, n])),
    };
  },
};
layers.rmsNorm = {
  operands: 1,
  draw: (_, shape) => ({
    weights: [shape.slice(-1)],
    run: (x, weight) => rf.rmsNorm(x, weight, { eps: 0.01 }),
    reference: (tape, x, weight) => {
      const root = tape.sqrt(tape.shift(tape.mean(tape.square(x), [x.rank - 1]), 0.01));
      return tape.mul(tape.div(x, root), weight);
    },
  }),
};
layers.affineLayerNorm = {
  operands: 1,
  draw: (_, shape) => ({
    weights: [shape.slice(-1), shape.slice(-1)],
    run: (x, weight, bias) => rf.layerNorm(x, { weight, bias, eps: 0.01 }),
    reference: (tape, x, weight, bias) => tape.add(tape.mul(tape.normalize(x, [x.rank - 1], 0.01), weight), bias),
  }),
};
layers.groupNorm = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length < 2) return undefined;
    const channels = shape[shape.length - 1];
    const groups = channels % 2 === 0 && pick(0, 1) === 1 ? 2 : 1;
    const positions = sizeOf(shape.slice(1, -1));
    return {
      weights: [[channels], [channels]],
      run: (x, weight, bias) => rf.groupNorm(x, weight, bias, { groups, eps: 0.01 }),
      reference: (tape, x, weight, bias) => {
        const parted = tape.reshape(x, [shape[0], positions, groups, channels / groups]);
        const y = tape.reshape(tape.normalize(parted, [1, 3], 0.01), shape);
        return tape.add(tape.mul(y, weight), bias);
      },
    };
  },
};
layers.geglu = {
  operands: 1,
  draw: (_, shape) => {
    const channels = shape[shape.length - 1];
    if (channels % 2 === 1) return undefined;
    const half = [...shape.slice(0, -1), channels / 2];
    const part = (tape: Tape, x: Value64, first: number) =>
      tape.choose(x, half, (at) => [...at.slice(0, -1), at[at.length - 1] + first]);
    return {
      run: (x) => rf.geglu(x),
      reference: (tape, x) => {
        const gate = tape.unary(
          part(tape, x, channels / 2),
          (v) => 0.5 * v * (1 + erf(v * Math.SQRT1_2)),
          (v) => 0.5 * (1 + erf(v * Math.SQRT1_2)) + (v * Math.exp(-0.5 * v * v)) / Math.sqrt(2 * Math.PI),
        );
        return tape.mul(part(tape, x, 0), gate);
      },
    };
  },
};
layers.attention = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length !== 3) return undefined;
    const [batch, length, channels] = shape;
    const heads = channels % 2 === 0 && pick(0, 1) === 1 ? 2 : 1;
    const causal = pick(0, 1) === 1;
    const size = channels / heads;
    const keys = causal ? length : pick(1, 4);
    const split = (tape: Tape, x: Value64, count: number) =>
      tape.choose(x, [batch, heads, count, size], ([n, h, l, c]) => [n, l, h * size + c]);
    return {
      weights: [
        [batch, keys, channels],
        [batch, keys, channels],
      ],
      run: (q, k, v) => rf.attention(q, k, v, { heads, causal }),
      reference: (tape, q, k, v) => {
        const raw = tape.matmul(split(tape, q, length), tape.swapLast(split(tape, k, keys)));
        const weights = tape.exp(tape.scale(raw, 1 / Math.sqrt(size)));
        const seen = causal ? tape.choose(weights, weights.shape, (p) => (p[3] <= p[2] ? p : undefined)) : weights;
        const mixed = tape.matmul(tape.div(seen, tape.sum(seen, [3])), split(tape, v, keys));
        return tape.choose(mixed, shape, ([n, l, c]) => [n, Math.floor(c / size), l, c % size]);
      },
    };
  },
};

/** The windows of images [N, H, W, C] as [N, rows, columns, kh, kw, C]; zeros outside the image. */
function windows(tape: Tape, x: Value64, kernel: number, { stride = 1, padding = 0, dilation = 1 } = {}): Value64 {
  const [n, height, width, channels] = x.shape;
  const count = (extent: number) => Math.floor((extent + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
  const shape = [n, count(height), count(width), kernel, kernel, channels];
  return tape.choose(x, shape, ([sample, i, j, di, dj, c]) => {
    const [row, column] = [i * stride - padding + di * dilation, j * stride - padding + dj * dilation];
    const inside = row >= 0 && row < height && column >= 0 && column < width;
    return inside ? [sample, row, column, c] : undefined;
  });
}

layers.conv2d = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length !== 4) return undefined;
    const [, height, width, channels] = shape;
    const groups = channels % 2 === 0 && pick(0, 1) === 1 ? 2 : 1;
    const [kernel, stride, dilation] = [pick(1, 3), pick(1, 2), pick(1, 2)];
    const padding = pick(0, 1);
    const reach = dilation * (kernel - 1) + 1;
    if (Math.min(height, width) + 2 * padding < reach) return undefined;
    const outputs = groups * pick(1, 2);
    const [taken, made] = [channels / groups, outputs / groups];
    return {
      weights: [[outputs, kernel, kernel, taken], [outputs]],
      run: (x, weight, bias) => rf.conv2d(x, weight, { bias, stride, padding, dilation, groups }),
      reference: (tape, x, weight, bias) => {
        const seen = windows(tape, x, kernel, { stride, padding, dilation });
        const [n, rows, columns] = seen.shape;
        const full = [n, rows, columns, outputs, kernel, kernel, taken];
        const inputs = tape.choose(seen, full, ([s, i, j, o, di, dj, c]) => [
          ...[s, i, j, di, dj],
          Math.floor(o / made) * taken + c,
        ]);
        const products = tape.mul(inputs, weight);
        return tape.add(tape.reshape(tape.sum(products, [4, 5, 6]), [n, rows, columns, outputs]), bias);
      },
    };
  },
};
layers.averagePool2d = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length !== 4 || Math.min(shape[1], shape[2]) < 2) return undefined;
    const stride = pick(1, 2);
    return {
      run: (x) => rf.averagePool2d(x, { kernel: 2, stride }),
      reference: (tape, x) => {
        const y = tape.mean(windows(tape, x, 2, { stride }), [3, 4]);
        return tape.reshape(y, [...y.shape.slice(0, 3), y.shape[5]]);
      },
    };
  },
};
layers.maxPool2d = {
  operands: 1,
  draw: (_, shape) => {
    if (shape.length !== 4 || Math.min(shape[1], shape[2]) < 2) return undefined;
    return {
      run: (x) => rf.maxPool2d(x, { kernel: 2, stride: 1 }),
      reference: (tape, x) => {
        const seen = windows(tape, x, 2);
        const [n, rows, columns, , , c] = seen.shape;
        const flat = tape.reshape(seen, [n, rows, columns, 4, c]);
        const sorted = tape.pick(flat, flat.shape, tape.order(flat, 3, true));
        return tape.choose(sorted, [n, rows, columns, c], ([s, i, j, channel]) => [s, i, j, 0, channel]);
      },
    };
  },
};
layers.upsampleNearest = {
  operands: 1,
  draw: (_, shape) => {
    if (shape.length !== 4) return undefined;
    const [n, height, width, c] = shape;
    return {
      run: (x: Tensor) => rf.upsampleNearest(x, 2),
      reference: (tape, x) =>
        tape.choose(x, [n, 2 * height, 2 * width, c], ([s, i, j, channel]) => [s, i >> 1, j >> 1, channel]),
    };
  },
};
layers.mse = {
  operands: 2,
  draw: (_, a, b) => {
    if (a.join() !== b.join()) return undefined;
    return {
      run: (x, y) => rf.reshape(rf.mse(x, y), [1]),
      reference: (tape, x, y) => {
        const mean = tape.mean(tape.square(tape.sub(x, y)), [...a.keys()]);
        return tape.reshape(mean, [1]);
      },
    };
  },
};
layers.crossEntropy = {
  operands: 1,
  draw: (pick, shape) => {
    if (shape.length !== 2) return undefined;
    const labels = Array.from({ length: shape[0] }, () => pick(0, shape[1] - 1));
    return {
      run: (x) => rf.reshape(rf.crossEntropy(x, rf.tensor(labels, { dtype: 'i32', device: x.device })), [1]),
      reference: (tape, x) => {
        const logs = tape.sub(x, tape.logSumExp(x, [1]));
        const right = tape.choose(logs, [shape[0], 1], ([row]) => [row, labels[row]]);
        return tape.reshape(tape.scale(tape.mean(right, [0, 1]), -1), [1]);
      },
    };
  },
};

export function refuseLarge(x: Value64): void {
  for (const value of x.data) if (!(Math.abs(value) < 50)) throw new TooNear();
}

export { layers };
