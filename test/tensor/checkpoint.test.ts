// Activation checkpointing: bit-identical to the plain run, with less memory and clear errors.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  add,
  argmax,
  cast,
  checkFinite,
  checkpoint,
  concat,
  dropout,
  exp,
  gradients,
  greater,
  matmul,
  mul,
  noGrad,
  randn,
  scope,
  silu,
  sum,
  type Tensor,
  tensor,
  transpose,
} from '../../src/index.ts';
import { apply, declareOp, notDifferentiable } from '../../src/kernels/op.ts';
import { view } from '../../src/tensor/view.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
});

const leaf = (stream: number, shape = [5, 7]) => randn(shape, { seed: 4, stream, device, requiresGrad: true });
const list = (t: Tensor | null) => Array.from((t as Tensor).dataSync());

/** The value, and the gradients of `leaves`, which are cleared afterwards. */
function outcome(leaves: readonly Tensor[], loss: () => Tensor): number[][] {
  return scope(() => {
    const value = loss();
    value.backward();
    const grads = leaves.map((t) => list(t.grad));
    for (const t of leaves) {
      t.grad?.dispose();
      t.grad = null;
    }
    return [list(value), ...grads];
  });
}

type Parts = Tensor | Tensor[];
const plain = (fn: (...inputs: Tensor[]) => Parts, inputs: Tensor[]) => fn(...inputs);
const both = [plain, checkpoint as typeof plain];

describe('is bit-identical to the plain run in value and gradients', () => {
  it('for inputs used several times, and parameters reached through closures', () => {
    const [x, w, b] = [leaf(0), leaf(1, [7, 7]), leaf(2, [7])];
    const block = (h: Tensor, t: Tensor) => add(mul(silu(add(matmul(mul(h, t), w), b)), h), mul(b, t));
    const results = both.map((run) =>
      outcome([x, w, b], () => {
        let h: Tensor = exp(mul(x, 0.1));
        const t = silu(h);
        for (let i = 0; i < 3; i++) h = run(block, [h, t]) as Tensor;
        return sum(mul(h, x));
      }),
    );
    expect(results[1]).toEqual(results[0]);
  });

  it('for several outputs: unused, used twice, one of an integer dtype, one that is an input', () => {
    const [x, y] = [leaf(0), leaf(1)];
    const split = (a: Tensor, b: Tensor) => [
      mul(a, b),
      exp(a),
      argmax(a, { axis: 1 }),
      b,
      cast(greater(a, 0), 'f32'),
      add(a, b),
    ];
    const results = both.map((run) =>
      outcome([x, y], () => {
        const [product, , places, same, mask, total] = run(split, [silu(x), y]) as Tensor[];
        expect(places.dtype).toBe('i32');
        return sum(concat([product, mul(same, product), mul(total, mask)], 1));
      }),
    );
    expect(results[1]).toEqual(results[0]);
  });

  it('for nested parts, and for an input that is passed twice', () => {
    const [x, w] = [leaf(0), leaf(1, [7, 7])];
    const inner = (h: Tensor) => silu(matmul(h, w));
    const results = both.map((run) =>
      outcome([x, w], () => {
        const outer = (a: Tensor, b: Tensor) =>
          run((h) => mul(run(inner, [h]) as Tensor, b), [run(inner, [a]) as Tensor]);
        const h = silu(x);
        return sum(run(outer, [h, h]) as Tensor);
      }),
    );
    expect(results[1]).toEqual(results[0]);
  });

  it('for dropout', () => {
    const x = leaf(0);
    const results = both.map((run) =>
      outcome([x], () => sum(mul(run((h) => dropout(h, 0.5, { seed: 7, first: 3 }), [x]) as Tensor, x))),
    );
    expect(results[1]).toEqual(results[0]);
  });

  it.each<[string, (h: Tensor, c: Tensor) => Tensor]>([
    ['a constant', (_, c) => mul(c, 2)],
    ['a result of noGrad', (h) => noGrad(() => exp(h))],
    ['a comparison', (h) => cast(greater(h, 0), 'f32')],
    ['indices', (h) => cast(argmax(h, { axis: 0 }), 'f32')],
    ['an input that requires no gradient', (_, c) => c],
  ])('for a second output that is %s and is multiplied by a parameter outside', (_, other) => {
    const [x, w, c] = [leaf(0), leaf(1, [7]), randn([5, 7], { seed: 4, stream: 2, device })];
    const results = both.map((run) =>
      outcome([w], () => {
        const [, y] = run((h, constant) => [mul(h, 2), other(h, constant)], [x, c]) as Tensor[];
        expect(y.requiresGrad).toBe(false);
        return sum(mul(y, w));
      }),
    );
    expect(results[1]).toEqual(results[0]);
    expect(x.grad).toBeNull();
  });

  it('for gradients() of one leaf, without running rules that only lead to others', () => {
    const [x, w] = [leaf(0), leaf(1)];
    const asked: boolean[][] = [];
    const noted = declareOp({
      name: 'noted',
      cpu: 'none',
      cuda: 'none',
      tangent: notDifferentiable('it has no rule').tangent,
      backward({ grad, needs }) {
        asked.push([...needs]);
        return [grad, grad];
      },
    });
    const both = (a: Tensor, b: Tensor) => apply(noted, view(a, a.shape), { parents: [a, b] });
    scope(() => {
      gradients(sum(checkpoint((h) => both(both(h, w), both(w, w)), [x])), [x]);
    });
    expect(asked).toEqual([
      [true, false],
      [true, false],
    ]);
  });

  it('for gradients(), which changes no grad', () => {
    const [x, w] = [leaf(0), leaf(1, [7, 7])];
    const results = both.map((run) =>
      scope(() => gradients(sum(run((h) => matmul(silu(h), w), [x]) as Tensor), [w]).map(list)),
    );
    expect(results[1]).toEqual(results[0]);
    expect([x.grad, w.grad]).toEqual([null, null]);
  });

  it('for a second backward through a retained graph', () => {
    const x = leaf(0);
    scope(() => {
      const loss = sum(checkpoint((h) => exp(h), [x]));
      loss.backward(undefined, { retainGraph: true });
      const once = list(x.grad);
      loss.backward();
      expect(list(x.grad)).toEqual(once.map((v) => 2 * v));
      expect(() => loss.backward()).toThrow(/backward\(\) has already run through this graph/);
    });
  });
});

it('works in noGrad, with every result checked, and when nothing requires a gradient', () => {
  const x = leaf(0);
  scope(() => {
    expect(noGrad(() => checkpoint((h) => exp(h), [x])).requiresGrad).toBe(false);
    expect(checkpoint((h) => exp(h), [tensor([1, 2], { device })]).requiresGrad).toBe(false);
    expect(checkpoint((h) => noGrad(() => exp(h)), [x]).requiresGrad).toBe(false);
    expect(() => checkFinite(() => checkpoint((h) => exp(mul(h, 1e30)), [x]))).toThrow(
      /\[exp\] produced \d+ non-finite/,
    );
  });
});

it('keeps only the inputs, and frees everything in the end, also after an exception in either run', () => {
  const x = randn([64, 1024], { seed: 1, device, requiresGrad: true });
  const bytes = 64 * 1024 * 4;
  const deep = (h: Tensor) => {
    for (let i = 0; i < 8; i++) h = silu(h);
    return h;
  };
  const peaks = both.map((run) =>
    scope(() => {
      const before = device.memory().live;
      device.resetHighWater();
      let h: Tensor = x;
      for (let i = 0; i < 8; i++) h = scope(() => run(deep, [h]) as Tensor);
      sum(h).backward();
      return (device.memory().highWater - before) / bytes;
    }),
  );
  // The plain run keeps 64 activations; this one keeps 8 and recomputes 8 at a time, plus intermediate gradients.
  expect(peaks[0]).toBeGreaterThan(64);
  expect(peaks[1]).toBeLessThan(24);
  x.grad?.dispose();
  x.grad = null;
  const { live } = device.memory();
  let calls = 0;
  const failing = (at: number) => () =>
    scope(() =>
      sum(
        checkpoint(
          (h) => {
            const y = deep(h);
            if (++calls === at) throw new Error('thrown inside');
            return y;
          },
          [x],
        ),
      ).backward(),
    );
  expect(failing(1)).toThrow('thrown inside');
  calls = 0;
  expect(failing(2)).toThrow('thrown inside');
  // This graph is never run backward.
  scope(() => {
    checkpoint(deep, [x]);
  });
  expect(device.memory().live).toBe(live);
});

describe('refuses', () => {
  const refusal = (body: (x: Tensor) => unknown) => () => scope(() => body(leaf(0)));
  const giving = (result: unknown) => refusal((x) => checkpoint(() => result as Tensor, [x]));

  it.each([
    [3, /returns a tensor or a list of tensors, got 3/],
    [undefined, /got undefined/],
    [[], /got an empty list/],
    [[1], /got 1/],
    [Promise.resolve(), /got a Promise/],
    [Object.create(null), /got an empty object/],
  ])('a function that returns %j', (result, message) => {
    expect(giving(result)).toThrow(message);
  });

  it('a computed tensor that is not among its inputs', () => {
    expect(
      refusal((x) => {
        const h = exp(x);
        checkpoint((y) => mul(y, h), [x]);
      }),
    ).toThrow(/uses tensor of exp f32 \[5, 7\], which has a gradient but is not an input; pass it in inputs/);
  });

  it('a parameter that was written before backward', () => {
    expect(
      refusal((x) => {
        const parameter = leaf(1);
        const y = sum(checkpoint((h) => mul(h, parameter), [x]));
        parameter.write(new Float32Array(parameter.size));
        y.backward();
      }),
    ).toThrow(/\[checkpoint\] backward\(\) needs the saved values of tensor f32 \[5, 7\]/);
  });

  it('a function that computes something else in backward', () => {
    const changing = (second: (h: Tensor) => Parts) =>
      refusal((x) => {
        let calls = 0;
        sum(checkpoint((h) => (calls++ === 0 ? exp(h) : (second(h) as Tensor)), [x])).backward();
      });
    expect(changing((h) => transpose(h))).toThrow(/it made \[5, 7\] before, now \[7, 5\]/);
    expect(changing((h) => [h, h])).toThrow(/now \[5, 7\], \[5, 7\]/);
    expect(changing((h) => mul(h, h))).toThrow(/1 uses of its inputs and parameters before, now another/);
    expect(changing((h) => noGrad(() => exp(h)))).toThrow(/it made output 0 with a gradient before, now it has none/);
    const frozen = leaf(1);
    expect(
      refusal((x) => {
        const y = sum(checkpoint((h) => mul(h, frozen), [x]));
        frozen.requireGrad(false);
        y.backward();
      }),
    ).toThrow(/use of tensor f32 \[5, 7\] with a gradient before, now it requires none/);
  });

  it('a path through an op without a gradient, and names the op', () => {
    const compared = (h: Tensor) => cast(greater(h, 0), 'f32');
    for (const body of [
      (x: Tensor) => sum(checkpoint(compared, [x])),
      (x: Tensor) => sum(checkpoint((h) => [exp(h), compared(h)], [x])[1]),
      (x: Tensor) => sum(checkpoint((h) => mul(h, 2), [compared(x)])),
      (x: Tensor) => sum(checkpoint((h) => h, [compared(x)])),
    ])
      expect(refusal((x) => body(x).backward())).toThrow('[greater] has no gradient: a comparison');
  });

  it('inputs and constants that are disposed too early', () => {
    expect(
      refusal((x) => {
        x.dispose();
        checkpoint((h) => h, [x]);
      }),
    ).toThrow(/\[checkpoint\] used tensor.*after it was disposed/);
    expect(
      refusal((x) => {
        const c = tensor([2], { device });
        const y = sum(checkpoint((h) => mul(h, c), [x]));
        c.dispose();
        y.backward();
      }),
    ).toThrow(/after it was disposed/);
  });
});
