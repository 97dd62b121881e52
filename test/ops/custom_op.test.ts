// Ops of a program's own, made by defineOp() from texts in C and CUDA. The device wasm needs clang for them.
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { compile } from '../../src/autograd/compile.ts';
import { jvp } from '../../src/autograd/forward.ts';
import { gradients } from '../../src/autograd/gradients.ts';
import type { Device } from '../../src/device/device.ts';
import { CompileError } from '../../src/errors.ts';
import { type DefinedOp, defineOp, type OpContext } from '../../src/kernels/composed/custom_op.ts';
import { exp, mul } from '../../src/kernels/elementwise.ts';
import { randn } from '../../src/kernels/random.ts';
import { sum } from '../../src/kernels/reduce.ts';
import { tensor, zeros } from '../../src/tensor/create.ts';
import { scope } from '../../src/tensor/scope.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { deviceNames, openTestDevice } from '../support/devices.ts';

/** y = a x + b, and both sums; the table is data of the module, which the device wasm must place. */
const affine: DefinedOp<{ a: number; b: number }, Tensor> = defineOp<{ a: number; b: number }>({
  name: 'affine',
  kernels: { affine: 'ptr ptr i32 f32 f32', affine_backward: 'ptr ptr i32 f32' },
  c: `#include "pool.h"
    static const float scale[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    static int32_t calls = 5;
    struct job { const float *x; float *y; int32_t n; float a, b; };
    static void piece(void *context, int32_t task, int32_t worker) {
      (void)worker;
      const struct job *j = context;
      int32_t i = task * LANES;
      vec x = load_partial(j->x + i, min32(LANES, j->n - i));
      store_partial(j->y + i, x * (j->a * scale[task % 4]) + j->b, min32(LANES, j->n - i));
    }
    KERNEL void affine(const float *x, float *y, int32_t n, float a, float b) {
      calls++;
      struct job j = {x, y, n, a, calls > 5 ? b : 0};
      pool_run(piece, &j, ceil_div(n, LANES));
    }
    KERNEL void affine_backward(const float *dy, float *dx, int32_t n, float a) {
      for (int32_t i = 0; i < n; i++) dx[i] = a * dy[i];
    }`,
  cuda: `#include "common.cuh"
    KERNEL affine(const float *x, float *y, int n, float a, float b) {
      u32 i = thread_number();
      if (i < (u32)n) y[i] = a * x[i] + b;
    }
    KERNEL affine_backward(const float *dy, float *dx, int n, float a) {
      u32 i = thread_number();
      if (i < (u32)n) dx[i] = a * dy[i];
    }`,
  forward({ empty, launch }, [x], { a, b }) {
    const y = empty(x.shape);
    launch('affine', [x, y, x.size, a, b], { threads: x.size });
    return y;
  },
  backward({ empty, launch }, gradient, { inputs: [x], options: { a } }) {
    const dx = empty(x.shape);
    launch('affine_backward', [gradient, dx, x.size, a], { threads: x.size });
    return [dx];
  },
  tangent: ([t], { options: { a } }) => affine(t as Tensor, { a, b: 0 }),
});

const numbers = (t: Tensor) => Array.from(t.dataSync());

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each([...new Set([...deviceNames, 'wasm'])])('%s', (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openTestDevice(name);
  }, 120_000);

  test('computes, also empty tensors, and frees what it makes', () => {
    const before = device.memory().live;
    scope(() => {
      const x = randn([67], { device, seed: 1 });
      const want = numbers(x).map((value) => Math.fround(Math.fround(value * 3) + 0.5));
      const got = numbers(affine(x, { a: 3, b: 0.5 }));
      got.forEach((value, i) => {
        expect(Math.abs(value - want[i])).toBeLessThan(1e-6);
      });
      expect(affine(zeros([0, 3], { device }), { a: 3, b: 1 }).shape).toEqual([0, 3]);
    });
    // The module of the device wasm keeps its data and its stack.
    const call = () => scope(() => void affine(zeros([2], { device }), { a: 3, b: 1 }));
    call();
    const after = device.memory().live;
    call();
    expect(device.memory().live).toBe(after);
    expect(after - before).toBeLessThanOrEqual(name === 'wasm' ? 2 ** 18 : 0);
  });

  test('has gradients and tangents, and is recorded', () => {
    scope(() => {
      const x = tensor([1, -2, 4], { device, requiresGrad: true });
      const f = (t: Tensor) => sum(mul(affine(mul(t, t), { a: 2, b: 1 }), t));
      // 2 t^3 + t
      expect(numbers(gradients(f(x), [x])[0])).toEqual([7, 25, 97]);
      const v = tensor([1, 1, 1], { device });
      expect(numbers(gradients(jvp(f, [x], [v])[1], [x])[0])).toEqual([12, -24, 48]);
      using compiled = compile((t: Tensor) => affine(exp(t), { a: 2, b: 1 }));
      for (let i = 0; i < 3; i++) expect(numbers(compiled(v))).toEqual(numbers(affine(exp(v), { a: 2, b: 1 })));
    });
  });

  test('several outputs, and forward in ops', () => {
    scope(() => {
      const both = defineOp<undefined, Tensor[]>({
        name: 'both',
        forward: (_, [a, b]) => [mul(a, b), a],
        backward: (_, [product, first], { inputs: [a, b] }) => [mul(product, b), mul(mul(product, a), sum(first))],
      });
      const [a, b] = [2, 5].map((value) => tensor([value], { device, requiresGrad: true }));
      const [product, first] = both(a, b);
      expect([numbers(product), numbers(first)]).toEqual([[10], [2]]);
      expect(first).not.toBe(a);
      const [da, db] = gradients(product, [a, b]);
      expect([numbers(da), numbers(db)]).toEqual([[5], [0]]);
    });
  });

  test('names what does not fit', () => {
    scope(() => {
      const x = tensor([1, 2], { device });
      expect(() => affine({ a: 1, b: 2 } as never)).toThrow('[affine] expected at least one tensor, got');
      expect(() => affine(zeros([2], { device, dtype: 'i32' }), { a: 1, b: 2 })).toThrow(
        '[affine] expected f32 operands',
      );
      const launching = (values: unknown, kernel = 'affine') =>
        defineOp({
          name: 'mine',
          kernels: { affine: 'ptr ptr i32 f32 f32' },
          forward({ empty, launch }, [t]) {
            launch(kernel, values as number[], { threads: 1 });
            return empty(t.shape);
          },
        })(x);
      expect(() => launching([x, x, 1, 1])).toThrow(
        '[mine] expected 5 arguments of affine, "ptr ptr i32 f32 f32", got 4',
      );
      expect(() => launching([x, 7, 1, 1, 1])).toThrow(
        '[mine] expected argument 1 of affine to be a tensor, or 0 for none',
      );
      expect(() => launching([x, x, 1.5, 1, 1])).toThrow(
        'argument 2 of affine to be a whole number of 32 bits, got 1.5',
      );
      expect(() => launching([], 'other')).toThrow('[mine] expected a kernel of its definition, affine, got other');
      expect(() => launching([x, x, 1, 1, 1])).toThrow(
        `[mine] has no kernels for the device ${device.name}: its definition lacks the text`,
      );
      const noGradient = defineOp({ name: 'plain', forward: (_, [t]) => exp(t) });
      const leaf = tensor([1], { device, requiresGrad: true });
      expect(() => noGradient(leaf).backward()).toThrow('[plain] has no gradient: its definition has no backward');
    });
  });
});

describe('definitions', () => {
  const forward = () => zeros([1]);

  test('are checked against the prototypes of their texts', () => {
    const c = '#include "pool.h"\nKERNEL void f(const float *x, float *y, int32_t n) {}';
    const define = (signature: string) => () => defineOp({ name: 'f', kernels: { f: signature }, c, forward });
    expect(define('ptr ptr i32')).not.toThrow();
    expect(define('ptr ptr f32')).toThrow(
      '[defineOp] expected "ptr ptr i32" for f, as its c text has it, got "ptr ptr f32"',
    );
    expect(define('ptr pointer')).toThrow("[defineOp] expected a signature for f, such as 'ptr ptr i32'");
    expect(define('ptr ptr i32 -> f64')).toThrow('[defineOp] expected f to return nothing');
    const cuda = '#include "common.cuh"\nKERNEL f(const float *x, int n) {}';
    expect(() => defineOp({ name: 'f', kernels: { f: 'ptr' }, cuda, forward })).toThrow('as its cuda text has it');
  });

  test('have a name, a forward function and known keys', () => {
    expect(() => defineOp({ name: 'a-b', forward })).toThrow('[defineOp] expected a name of letters, digits and _');
    expect(() => defineOp({ name: 'a' } as never)).toThrow('[defineOp] expected forward');
    expect(() => defineOp({ name: 'a', forward, backwards: forward } as never)).toThrow('backwards');
  });

  test('a text that does not compile is an error with the first lines of the log', async () => {
    const device = await openTestDevice('cpu');
    const broken = defineOp({
      name: 'broken',
      kernels: { broken: 'ptr' },
      c: '#include "pool.h"\nKERNEL void broken(float *x) { nonsense; }',
      forward({ launch }, [x]) {
        launch('broken', [x], { threads: 1 });
        return x;
      },
    });
    expect(() => scope(() => broken(zeros([1], { device })))).toThrow(/broken\.c did not compile with [\s\S]*nonsense/);
  });

  test('a text without the declared kernel is an error that names it', async () => {
    const device = await openTestDevice('cpu');
    const absent = defineOp({
      name: 'absent',
      kernels: { absent: 'ptr' },
      c: '#include "pool.h"\nint other;',
      forward({ launch }, [x]) {
        launch('absent', [x], { threads: 1 });
        return x;
      },
    });
    expect(() => scope(() => absent(zeros([1], { device })))).toThrow('absent.c does not export what is declared: ');
  });

  test.each(['cpu', 'wasm'])('on %s, a text needs pool.h, and headers of the package alone', async (name) => {
    const device = await openTestDevice(name);
    const call = (c: string) => () =>
      scope(() =>
        defineOp({
          name: 'given',
          kernels: { given: 'ptr' },
          c: `${c}\nvoid given(float *x) { x[0] = 1; }`,
          forward({ launch }, [x]) {
            launch('given', [x], { threads: 1 });
            return x;
          },
        })(zeros([1], { device })),
      );
    expect(call('')).toThrow(CompileError);
    expect(call('')).toThrow('given.c: expected #include "pool.h", without which kernels do not work');
    expect(call('#include "/etc/passwd"')).toThrow(
      'given.c: expected headers of the package in quotes, got "/etc/passwd"',
    );
  });

  test('the same text given again is compiled and loaded once', async () => {
    const device = await openTestDevice('wasm');
    const x = zeros([1], { device });
    const call = () =>
      scope(
        () =>
          void defineOp({
            name: 'again',
            kernels: { again: 'ptr' },
            c: '#include "pool.h"\nKERNEL void again(float *x) { x[0] = 1; }',
            forward({ launch }, [t]) {
              launch('again', [t], { threads: 1 });
              return t;
            },
          })(x),
      );
    call();
    const { live } = device.memory();
    call();
    expect(device.memory().live).toBe(live);
    x.dispose();
  });

  test('names of kernels and sizes of launches are checked', async () => {
    const device = await openTestDevice('cpu');
    for (const kernel of ['f; g', '__proto__', ''])
      expect(() => defineOp({ name: 'f', kernels: JSON.parse(`{"${kernel}": "ptr"}`), forward })).toThrow(
        '[defineOp] expected names of kernels with letters, digits and _',
      );
    const sized = (size: unknown) => () =>
      scope(() =>
        affineWith((launch, x) => {
          launch('affine', [x, x, 1, 1, 1], size as never);
        })(zeros([1], { device }), { a: 1, b: 1 }),
      );
    const affineWith = (run: (launch: OpContext['launch'], x: Tensor) => void) =>
      defineOp<{ a: number; b: number }>({
        name: 'sized',
        kernels: { affine: 'ptr ptr i32 f32 f32' },
        forward({ launch }, [x]) {
          run(launch, x);
          return x;
        },
      });
    for (const size of [
      {},
      { thread: 1 },
      { grid: 'a', block: [1] },
      { grid: [1], block: [0] },
      { grid: [1, 1, 1, 1], block: [1] },
      { grid: [1.5], block: [1] },
      { grid: [1] },
    ])
      expect(sized(size), JSON.stringify(size)).toThrow(/^\[sized\] expected/);
  });

  test('without clang, the device wasm says what it needs', async () => {
    vi.stubEnv('CLANG', 'no-such-clang');
    const device = await openTestDevice('wasm');
    const unseen = defineOp({
      name: 'unseen',
      kernels: { unseen: 'ptr' },
      c: '#include "pool.h"\nKERNEL void unseen(float *x) { x[0] = 1; }',
      forward({ launch }, [x]) {
        launch('unseen', [x], { threads: 1 });
        return x;
      },
    });
    expect(() => scope(() => unseen(zeros([1], { device })))).toThrow(
      'CLANG names "no-such-clang", which was not found',
    );
  });
});
