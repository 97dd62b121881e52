/** backward(): where it begins and where it ends, and what it refuses by name. */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  add,
  cast,
  type Dtype,
  exp,
  full,
  mul,
  noGrad,
  ones,
  scope,
  sum,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.ts';
import { openTestDevice } from '../support/devices.ts';

let device: Device;
let other: Device;
beforeAll(async () => {
  device = await openTestDevice('cpu');
  other = await openTestDevice('wasm');
});

const leaf = (values: number[] = [1, 2]) => tensor(values, { device, requiresGrad: true });
const inScope = (body: () => unknown) => () => scope(body);

describe('a cotangent', () => {
  const refusal = (cotangent: () => unknown) => inScope(() => exp(leaf()).backward(cotangent() as Tensor));

  it.each<[string, () => unknown, string]>([
    [
      'left out for two elements',
      () => undefined,
      'expected a tensor of one element, or a cotangent of its shape, got [2]',
    ],
    ['of another shape', () => ones([1, 2], { device }), 'expected a cotangent [2], got [1, 2]'],
    ['of whole numbers', () => ones([2], { device, dtype: 'i32' }), 'expected a cotangent f32, got i32'],
    ['on another device', () => ones([2], { device: other }), 'expected a cotangent on cpu, got wasm'],
    ['that is null', () => null, 'expected a cotangent that is a tensor, got null'],
    ['that is a number', () => 1, 'expected a cotangent that is a tensor, got 1'],
    [
      'that is an object of options',
      () => ({ retainGraph: true }),
      'expected a cotangent that is a tensor, got an object with "retainGraph"',
    ],
  ])('%s is refused', (_, cotangent, message) => {
    expect(refusal(cotangent)).toThrow(`[backward] ${message}`);
  });

  it('that is disposed is refused', () => {
    const disposed = () => {
      const made = ones([2], { device });
      made.dispose();
      return made;
    };
    expect(refusal(disposed)).toThrow('backward() used tensor f32 [2] after it was disposed');
  });

  it('is left as it is, and may be used again', () => {
    scope(() => {
      const [x, cotangent] = [leaf(), ones([2], { device })];
      const y = add(x, x);
      y.backward(cotangent, { retainGraph: true });
      y.backward(cotangent);
      expect([x.grad, cotangent].map((t) => Array.from((t as Tensor).dataSync()))).toEqual([
        [4, 4],
        [1, 1],
      ]);
    });
  });
});

describe('backward()', () => {
  it('of a leaf says that there is nothing to go through', () => {
    expect(inScope(() => leaf([1]).backward())).toThrow(
      'backward() of tensor f32 [1]: it is a leaf; begin at what was computed from it',
    );
  });

  it('runs once, unless the graph is retained', () => {
    scope(() => {
      const x = leaf([3]);
      const y = mul(x, x);
      y.backward(undefined, { retainGraph: true });
      y.backward();
      expect(x.grad?.item()).toBe(12);
      expect(() => y.backward()).toThrow(
        '[mul] backward() has already run through this graph; pass { retainGraph: true }',
      );
    });
  });

  it('adds to a grad that was put there, which must be one', () => {
    scope(() => {
      const x = leaf([3]);
      const put = (value: Tensor) => () => {
        x.grad = value;
      };
      expect(put(zeros([1], { device, dtype: 'i32' }))).toThrow('[grad] expected a floating dtype');
      expect(put(zeros([2], { device }))).toThrow('[grad] expected a gradient [1] on cpu');
      const disposed = ones([1], { device });
      disposed.dispose();
      expect(put(disposed)).toThrow('grad used tensor f32 [1] after it was disposed');
      x.grad = cast(ones([1], { device }), 'bf16');
      expect(() => mul(x, x).backward()).toThrow('[accumulate] expected bf16, got f32');
      x.grad = ones([1], { device });
      mul(x, x).backward();
      expect(x.grad.item()).toBe(7);
    });
  });

  it('names a leaf that was disposed, and one whose grad was', () => {
    scope(() => {
      const x = leaf([3]);
      x.label = 'scale';
      const loss = () => sum(mul(x, x));
      loss().backward();
      x.grad?.dispose();
      expect(() => loss().backward()).toThrow(
        "backward() into the grad of tensor 'scale' f32 [1] used tensor f32 [1] after it was disposed",
      );
      x.grad = null;
      const last = loss();
      last.backward(undefined, { retainGraph: true });
      x.dispose();
      const { live } = device.memory();
      expect(() => last.backward()).toThrow("backward() used tensor 'scale' f32 [1] after it was disposed");
      expect(device.memory().live).toBeLessThanOrEqual(live);
    });
  });
});

describe('requiresGrad', () => {
  it.each<Dtype>(['i32', 'u8', 'bool'])('is refused for %s, without memory that stays', (dtype) => {
    const { live } = device.memory();
    const options = { device, dtype, requiresGrad: true };
    const message = `[requireGrad] expected a floating dtype: whole numbers have no gradient, got ${dtype}`;
    for (const make of [() => tensor([1], options), () => zeros([1], options), () => full([1], 1, options)])
      expect(make).toThrow(message);
    expect(device.memory().live).toBe(live);
    scope(() => {
      const made = zeros([1], { device, dtype });
      expect(() => made.requireGrad()).toThrow(message);
      expect(() => {
        made.requiresGrad = true;
      }).toThrow(message);
      expect(made.requireGrad(false).requiresGrad).toBe(false);
    });
  });

  it('can be given up by a leaf, and not by what was computed from one', () => {
    scope(() => {
      const x = leaf();
      const y = exp(x);
      expect(() => y.requireGrad(false)).toThrow(
        'tensor of exp f32 [2] was computed from what requires a gradient and cannot give it up; compute it in noGrad()',
      );
      expect(y.requireGrad().requiresGrad).toBe(true);
      sum(y).backward();
      expect(x.grad?.dataSync()).toEqual(y.dataSync());
      expect(exp(x.requireGrad(false)).requiresGrad).toBe(false);
      expect(noGrad(() => exp(leaf())).requireGrad(false).requiresGrad).toBe(false);
    });
  });
});
