// backward(): where it begins and ends, and what it refuses by name.
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.ts';
import {
  add,
  cast,
  crossEntropy,
  type Dtype,
  dropout,
  exp,
  full,
  gather,
  groupNorm,
  mul,
  noGrad,
  ones,
  reshape,
  scope,
  sum,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.ts';
import { Adam, Linear } from '../../src/nn/index.ts';
import { Counter } from '../../src/tensor/counter.ts';
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

  it('is not modified, and may be reused', () => {
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
  it('of a leaf reports that there is no graph', () => {
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

  it('adds to a grad that the caller assigned, if it matches the leaf', () => {
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

  it('names a disposed leaf, and a leaf whose grad was disposed', () => {
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
  it.each<Dtype>(['i32', 'u8', 'bool'])('is refused for %s without leaking memory', (dtype) => {
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

  it('can be cleared on a leaf, but not on a value computed from one', () => {
    scope(() => {
      const x = leaf();
      const y = exp(x);
      expect(() => y.requireGrad(false)).toThrow(
        'tensor of exp f32 [2] was computed from a tensor that requires a gradient; compute it in noGrad() instead',
      );
      expect(y.requireGrad().requiresGrad).toBe(true);
      sum(y).backward();
      expect(x.grad?.dataSync()).toEqual(y.dataSync());
      expect(exp(x.requireGrad(false)).requiresGrad).toBe(false);
      expect(noGrad(() => exp(leaf())).requireGrad(false).requiresGrad).toBe(false);
    });
  });
});

describe('memory that was written after the forward pass', () => {
  const message = 'backward() needs the saved values of tensor';

  it('of a saved operand makes backward throw', () => {
    expect(
      inScope(() => {
        const x = leaf();
        const y = sum(exp(mul(x, x)));
        x.write(Float32Array.of(3, 4));
        y.backward();
      }),
    ).toThrow(`[mul] ${message} f32 [2], but its memory was written after the op ran`);
  });

  it('through a view makes backward throw', () => {
    expect(
      inScope(() => {
        const x = leaf();
        const window = reshape(x, [2, 1]);
        const y = sum(mul(x, x));
        window.write(Float32Array.of(3, 4));
        y.backward();
      }),
    ).toThrow(`[mul] ${message}`);
  });

  it.each<[string, (index: Tensor) => Tensor]>([
    ['gather', (index) => sum(gather(tensor([[1], [2]], { device, requiresGrad: true }), index))],
    ['crossEntropy', (index) => crossEntropy(tensor([[1], [2]], { device, requiresGrad: true }), index)],
  ])('of the indices of %s makes backward throw instead of writing out of bounds', (name, loss) => {
    expect(
      inScope(() => {
        const index = tensor([0, 0], { device, dtype: 'i32' });
        const y = loss(index);
        index.write(Int32Array.of(1e8, -1e8));
        y.backward();
      }),
    ).toThrow(`[${name}] ${message} i32 [2]`);
  });

  it('of a grad used as an operand makes backward throw after another pass added to it', () => {
    expect(
      inScope(() => {
        const x = leaf();
        sum(x).backward();
        const y = sum(mul(x.grad as Tensor, leaf()));
        sum(x).backward();
        y.backward();
      }),
    ).toThrow(`[mul] ${message}`);
  });

  it("of parameters makes backward throw after Adam's update", () => {
    expect(
      inScope(() => {
        const linear = new Linear(2, 2);
        const optimizer = new Adam(linear);
        const loss = sum(mul(linear.weight, linear.weight));
        optimizer.minimize(() => sum(mul(linear.weight, linear.weight)));
        loss.backward();
      }),
    ).toThrow(`[mul] ${message} 'weight' f32 [2, 2]`);
  });

  it.each<[string, (x: Tensor, origin: Counter) => Tensor]>([
    ['dropout', (x, origin) => dropout(x, 0.5, { seed: 1, origin })],
    [
      'groupNorm',
      (x, origin) =>
        groupNorm(x, ones([2], { device }), ones([2], { device }), { groups: 1, dropout: { p: 0.5, seed: 1, origin } }),
    ],
  ])('of the mask origin of %s makes backward throw', (name, masked) => {
    using origin = new Counter(device);
    expect(
      inScope(() => {
        const y = sum(masked(reshape(leaf(), [1, 2]), origin));
        origin.set(1);
        y.backward();
      }),
    ).toThrow(`[${name}] backward() needs the origin of its dropout mask unchanged`);
  });

  it('has no effect if it was not saved, or was written before the forward pass', () => {
    scope(() => {
      const x = leaf();
      x.write(Float32Array.of(3, 4));
      const y = sum(add(x, 2));
      x.write(Float32Array.of(5, 6));
      y.backward();
      expect(Array.from(x.grad?.dataSync() ?? [])).toEqual([1, 1]);
    });
  });
});
