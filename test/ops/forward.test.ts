// Forward mode: the tangent rule of every op against its backward rule, by the law <J u, w> = <u, J^T w>, and against finite
// differences of the float64 reference; second derivatives; transformations of whole functions, and their errors.
import { beforeAll, describe, expect, test } from 'vitest';
import { checkpoint } from '../../src/autograd/checkpoint.ts';
import { jvp, linearize } from '../../src/autograd/forward.ts';
import { gradients, vjp } from '../../src/autograd/gradients.ts';
import { noGrad } from '../../src/autograd/mode.ts';
import type { Device } from '../../src/device/device.ts';
import { cast } from '../../src/kernels/cast.ts';
import { add, exp, greater, mul, sin, square, tanh } from '../../src/kernels/elementwise.ts';
import { ops } from '../../src/kernels/index.ts';
import { matmul } from '../../src/kernels/matmul.ts';
import { oneHot } from '../../src/kernels/movement.ts';
import { argmax, sum } from '../../src/kernels/reduce.ts';
import { ones, tensor, zeros } from '../../src/tensor/create.ts';
import { isFloating } from '../../src/tensor/dtype.ts';
import { keep, scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { asList, type Case, describeCase } from '../cases/case.ts';
import { cases, casesIn } from '../cases.ts';
import { given, makeTensor } from '../support/check.ts';
import { deviceModes, deviceNames, full, openTestDevice } from '../support/devices.ts';
import { fill, random } from '../support/random.ts';
import { type Array64, array64, count, directionalDerivative } from '../support/reference/index.ts';

/** A case whose inputs have a gradient. */
const differentiable = cases.filter((definition) =>
  definition.inputs(definition.check[0]).some((input) => input.differentiable),
);

test('every differentiable op has a tangent rule, and no other has one', () => {
  for (const [name, { backward, tangent }] of Object.entries(ops)) expect(typeof tangent, name).toBe(typeof backward);
});

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let [total, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    total += a[i] * b[i];
    size += Math.abs(a[i] * b[i]);
  }
  return { total, size };
};

/** d^2/dh^2 of sum(outputs * cotangents) at inputs + h directions, by central differences. */
function secondDerivative(
  f: (given: Array64[]) => Array64[],
  arrays: readonly Array64[],
  cotangents: readonly Array64[],
  moving: readonly number[],
  directions: readonly Array64[],
): number {
  const h = 1e-4;
  const at = (step: number) => {
    const shifted = arrays.map((array, i) => {
      const which = moving.indexOf(i);
      if (which < 0) return array;
      return array64(
        array.shape,
        array.data.map((value, e) => value + step * directions[which].data[e]),
      );
    });
    return f(shifted).reduce((total, output, o) => total + dot(output.data, cotangents[o].data).total, 0);
  };
  return (at(h) - 2 * at(0) + at(-h)) / h ** 2;
}

async function checkLaw(definition: Case, size: unknown, device: Device): Promise<void> {
  const title = `${describeCase(definition, size)} on ${device.name}`;
  const draw = random(title);
  const inputs = definition.inputs(size);
  const arrays = inputs.map((input) => fill(input, draw));
  const moving = inputs.flatMap((input, i) => (input.differentiable ? [i] : []));
  const drawn = (shape: readonly number[]) =>
    array64(
      shape,
      Float64Array.from({ length: count(shape) }, () => Math.fround(2 * draw() - 1)),
    );
  const directions = moving.map((i) => drawn(inputs[i].shape));
  const cotangents: Array64[] = [];
  const curvature = { reverse: 0, forward: 0 };
  const [tangents, pulled, outputs] = scope(() => {
    const make = (array: Array64) => makeTensor(array, 'f32', device, false);
    const tensors = inputs.map((input, i) => makeTensor(arrays[i], input.dtype, device, false));
    const run = (...given: Tensor[]) =>
      asList(
        definition.run(
          tensors.map((t, i) => (moving.includes(i) ? given[moving.indexOf(i)] : t)),
          size,
        ),
      );
    const primals = moving.map((i) => tensors[i]);
    const [made, moved] = jvp(run, primals, directions.map(make));
    cotangents.push(...made.map(({ shape }) => drawn(shape)));
    const [, pullback] = vjp(run, primals);
    const gradient = pullback(cotangents.map(make));
    // The second derivative along both directions: reverse and forward mode over forward mode.
    const weighted = (...given: Tensor[]) => {
      const [, moved] = jvp(run, given, directions.map(make));
      return moved.map((t, i) => sum(mul(t, make(cotangents[i])))).reduce((a, b) => add(a, b));
    };
    const [, bend] = vjp(weighted, primals);
    curvature.reverse = bend(ones([], { device })).reduce(
      (total, t, i) => total + dot(t.dataSync(), directions[i].data).total,
      0,
    );
    curvature.forward = jvp(weighted, primals, directions.map(make))[1].item();
    const read = (list: readonly Tensor[]) => list.map((t) => ({ shape: t.shape, data: t.dataSync() as Float32Array }));
    return [read(moved), read(gradient), read(made)];
  });
  let [forward, backward, scale] = [0, 0, 0];
  tangents.forEach(({ data }, i) => {
    const { total, size: magnitude } = dot(data, cotangents[i].data);
    forward += total;
    scale += magnitude;
  });
  pulled.forEach(({ data }, i) => {
    const { total, size: magnitude } = dot(data, directions[i].data);
    backward += total;
    scale += magnitude;
  });
  const { relative = 0, ofLargest = 0 } = definition.tolerance.gradient;
  const allowed = 4 * (relative + ofLargest + 1e-6) * scale + 1e-6;
  expect(Math.abs(forward - backward), `${title}: <J u, w> = ${forward}, <u, J^T w> = ${backward}`).toBeLessThanOrEqual(
    allowed,
  );

  // The same number by central differences in float64.
  const values = outputs.map(({ shape, data }) => array64(shape, Float64Array.from(data)));
  const smooth = definition.smooth ?? definition.reference;
  const f = (given: Array64[]) => asList(smooth.call(definition, given, size, values));
  const exact = moving.reduce(
    (total, which, i) => total + directionalDerivative(f, arrays, cotangents, which, directions[i].data),
    0,
  );
  const near = allowed + 1e-5 * scale;
  const bends = `${title}: second derivative ${curvature.reverse} in reverse mode, ${curvature.forward} in forward mode`;
  const size2 = Math.abs(curvature.reverse) + scale;
  expect(Math.abs(curvature.reverse - curvature.forward), bends).toBeLessThanOrEqual(1e-4 * size2 + 1e-5);
  const second = secondDerivative(f, arrays, cotangents, moving, directions);
  expect(Math.abs(curvature.forward - second), `${bends}, finite differences ${second}`).toBeLessThanOrEqual(
    1e-3 * size2 + 1e-4,
  );
  expect(Math.abs(forward - exact), `${title}: <J u, w> = ${forward}, finite differences ${exact}`).toBeLessThanOrEqual(
    near,
  );
}

describe.each(deviceNames)('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test.each(differentiable.map((definition) => ({ title: describeCase(definition), definition })))(
    'the tangent rule of $title is the transpose of its backward rule',
    async ({ definition }) => {
      const sizes = full
        ? definition.check
        : name === 'cpu'
          ? definition.check.slice(0, 4)
          : definition.check.slice(0, 2);
      for (const size of sizes) await checkLaw(definition, size, device);
    },
    120_000,
  );
});

describe.each(deviceModes.filter(({ precision }) => precision === 'bf16'))('$label', (mode) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(mode.name, mode);
  }, 120_000);

  const stored = casesIn('bf16').filter((definition) => differentiable.some(({ op }) => op === definition.op));
  test.each(stored.map((definition) => ({ title: describeCase(definition), definition })))(
    'the tangent of $title is stored like its output',
    ({ definition }) => {
      const size = definition.check[definition.check.length - 1];
      const inputs = definition.inputs(size);
      const moving = inputs.flatMap((input, i) => (input.differentiable ? [i] : []));
      scope(() => {
        const draw = random('bf16');
        const made = inputs.map((input) => makeTensor(fill(input, draw), input.dtype, device, false));
        const tensors = given(made, definition, device);
        const run = (...primals: Tensor[]) =>
          asList(
            definition.run(
              tensors.map((t, i) => (moving.includes(i) ? primals[moving.indexOf(i)] : t)),
              size,
            ),
          );
        const primals = moving.map((i) => tensors[i]);
        const [outputs, tangents] = jvp(run, primals, primals);
        outputs.forEach((output, i) => {
          if (isFloating(output.dtype)) expect(tangents[i].dtype).toBe(output.dtype);
        });
      });
    },
  );
});

describe('transformations', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice('cpu');
  }, 120_000);

  const given = (values: number[]) => tensor(values, { device });
  const numbers = (t: Tensor) => Array.from(t.dataSync());
  const close = (t: Tensor, values: number[]) => {
    const got = numbers(t);
    expect(got.length).toBe(values.length);
    values.forEach((value, i) => {
      expect(Math.abs(got[i] - value)).toBeLessThan(1e-5 * (1 + Math.abs(value)));
    });
  };
  const points = [0.3, -1.2, 2];

  test('jvp gives the value and the derivative along a tangent', () => {
    scope(() => {
      const [y, dy] = jvp((x) => sin(x), [given(points)], [given([1, 2, 3])]);
      close(y, points.map(Math.sin));
      close(
        dy,
        points.map((x, i) => (i + 1) * Math.cos(x)),
      );
    });
  });

  test('jvp of jvp is the second derivative, and does not mix the two', () => {
    scope(() => {
      const derivative = (f: (x: Tensor) => Tensor) => (x: Tensor) => jvp(f, [x], [ones(x.shape, { device })])[1];
      close(
        derivative(derivative(derivative((x) => sin(x))))(given(points)),
        points.map((x) => -Math.cos(x)),
      );
      // d/dx (x d/dy (x + y)) = 1, where confused perturbations give 2.
      const outer = derivative((x) => mul(x, derivative((y) => add(x, y))(x)));
      close(outer(given([1])), [1]);
    });
  });

  test('gradients of a jvp are Hessian-vector products', () => {
    scope(() => {
      const weight = tensor(
        [
          [0.5, -1],
          [2, 0.25],
        ],
        { device },
      );
      const x = tensor([[0.4, -0.7]], { device, requiresGrad: true });
      const v = tensor([[1, -2]], { device });
      const loss = (t: Tensor) => sum(square(tanh(matmul(t, weight))));
      const [hv] = gradients(jvp(loss, [x], [v])[1], [x]);
      const gradientAt = (shift: number) => {
        const moved = tensor([[0.4 + shift, -0.7 - 2 * shift]], { device, requiresGrad: true });
        return numbers(gradients(loss(moved), [moved])[0]);
      };
      const [ahead, behind] = [gradientAt(1e-2), gradientAt(-1e-2)];
      numbers(hv).forEach((value, i) => {
        expect(Math.abs(value - (ahead[i] - behind[i]) / 2e-2)).toBeLessThan(5e-3);
      });
    });
  });

  test('linearize applies the derivative many times without the function', () => {
    scope(() => {
      let calls = 0;
      const f = (x: Tensor, w: Tensor) => {
        calls++;
        return [mul(exp(x), w), sum(w), greater(x, 0)].slice(0, 2);
      };
      const primals = [given(points), given([1, 2, 3])];
      const [output, derivative] = linearize(f, primals);
      const { live } = device.memory();
      for (const direction of [1, -2]) {
        const tangents = [given([direction, 0, 1]), given([0, direction, 0])];
        const [, expected] = jvp(f, primals, tangents);
        derivative(tangents[0], tangents[1]).forEach((t, i) => {
          expect(numbers(t)).toEqual(numbers(expected[i]));
        });
      }
      expect(calls).toBe(3);
      expect(numbers(output[1])).toEqual([6]);
      derivative.dispose();
      expect(() => derivative(...primals)).toThrow('[linearize] expected a linear map that is not disposed');
      expect(device.memory().live).toBeGreaterThan(0);
      expect(live).toBeGreaterThan(0);
    });
  });

  test('frees every tangent, also of tensors that outlive the call and of functions that throw', () => {
    const x = given(points);
    const before = device.memory().live;
    let kept: Tensor | undefined;
    const run = () =>
      scope(() => {
        jvp(
          (t) => {
            kept = keep(exp(t));
            return scope(() => sum(mul(kept as Tensor, sin(t))));
          },
          [x],
          [ones([3], { device })],
        );
      });
    run();
    kept?.dispose();
    expect(device.memory().live).toBe(before);
    expect(() =>
      scope(() =>
        jvp(
          (t) => {
            exp(t);
            throw new Error('stop');
          },
          [x],
          [x],
        ),
      ),
    ).toThrow('stop');
    expect(device.memory().live).toBe(before);
    scope(() => {
      const [y, derivative] = linearize((t: Tensor) => t, [x]);
      derivative.dispose();
      expect(numbers(y)).toEqual(numbers(x));
    });
    expect(device.memory().live).toBe(before);
    x.dispose();
  });

  test('vjp pulls cotangents back several times, through several outputs', () => {
    scope(() => {
      const x = given([1, 2]);
      const [[a, b], pullback] = vjp((t) => [mul(t, t), sum(t)], [x]);
      expect([numbers(a), numbers(b)]).toEqual([[1, 4], [3]]);
      for (const factor of [1, 10]) {
        const [dx] = pullback([given([factor, factor]), tensor(factor, { device })]);
        expect(numbers(dx)).toEqual([3 * factor, 5 * factor]);
      }
      expect(() => pullback([a] as never)).toThrow('[vjp] expected 2 cotangents, one for each output, got 1');
    });
  });

  test('vjp refuses an output that gradients() cut off, and failed passes keep no memory', () => {
    const x = given([1, 2]);
    const square = (t: Tensor) => sum(mul(t, t));
    const slope = (t: Tensor) => gradients(square(t), [t])[0];
    const fail = (call: () => unknown) => expect(() => scope(() => void call()));
    const passes = () => {
      const [, pullback] = vjp(slope, [x]);
      const cut =
        '[gradients] has no gradient of its own: second derivatives are gradients() or jvp() of the result of jvp()';
      fail(() => pullback(x)).toThrow(cut);
      fail(() => gradients(sum(slope(x.requireGrad())), [x])).toThrow(cut);
      fail(() => jvp((t) => slope(t.requireGrad()), [x], [x])).toThrow('[backward] expected no jvp() around it');
      const [, both] = vjp((t) => [mul(t, t), sum(t)], [x]);
      fail(() => both([x, x])).toThrow('[backward] expected a cotangent []');
    };
    scope(passes);
    const { live } = device.memory();
    scope(passes);
    expect(device.memory().live).toBe(live);
    x.dispose();
  });

  test('noGrad, whole numbers and outputs without a path are constants', () => {
    scope(() => {
      const x = given(points);
      const one = [ones([3], { device })];
      expect(
        numbers(
          jvp(
            (t) =>
              mul(
                t,
                noGrad(() => exp(t)),
              ),
            [x],
            one,
          )[1],
        ),
      ).toEqual(numbers(exp(x)));
      expect(numbers(jvp((t) => cast(greater(t, 0), 'f32'), [x], one)[1])).toEqual([0, 0, 0]);
      expect(numbers(jvp(() => ones([2], { device }), [x], one)[1])).toEqual([0, 0]);
      const picked = jvp((t) => oneHot(argmax(t, { axis: 0 }), 3), [x], one);
      expect(numbers(picked[1])).toEqual([0, 0, 0]);
      expect(numbers(noGrad(() => jvp((t) => square(t), [x], one))[1])).toEqual(numbers(mul(x, 2)));
    });
  });

  test('goes through checkpointed parts', () => {
    scope(() => {
      const x = tensor(points, { device, requiresGrad: true });
      const f = (t: Tensor) => sum(checkpoint((h) => mul(sin(h), h), [t]));
      const plain = (t: Tensor) => sum(mul(sin(t), t));
      const [hv, expected] = [f, plain].map((g) => gradients(jvp(g, [x], [given([1, -1, 2])])[1], [x])[0]);
      expect(numbers(hv)).toEqual(numbers(expected));
    });
  });

  test('names what does not fit', () => {
    scope(() => {
      const x = given(points);
      const f = (t: Tensor) => sum(t);
      expect(() => jvp(f, [x], [])).toThrow('[jvp] expected 1 tangents, one for each primal, got 0');
      expect(() => jvp(f, [x], [given([1])])).toThrow('[jvp] expected tangent 0 [3], got [1]');
      expect(() => jvp(f, [zeros([3], { device, dtype: 'i32' })], [x])).toThrow('floating-point primals');
      expect(() => jvp(() => 3 as never, [x], [x])).toThrow('a function that returns a tensor or a list of tensors');
      expect(() => jvp((async () => x) as never, [x], [x])).toThrow(/synchronous|a tensor or a list/);
      const reversed = (t: Tensor) => gradients(f(mul(t, t)), [t])[0];
      expect(() => jvp((t) => reversed(t.requireGrad()), [x], [x])).toThrow('[backward] expected no jvp() around it');
      expect(() => jvp((t) => linearize(f, [t])[0], [x], [x])).toThrow('[linearize] expected no jvp()');
    });
  });
});
