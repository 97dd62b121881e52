// An op of your own, with kernels in C and CUDA and a gradient: y = x / (1 + |x|). Run: node examples/custom_op.mjs [device]
import { abs, add, defineOp, div, openDevice, square, tensor } from 'rectiflow';

const softsign = defineOp({
  name: 'softsign',
  kernels: { softsign: 'ptr ptr i32' },
  c: `#include "pool.h"
    struct job { const float *x; float *y; int32_t n; };
    enum { PIECE = 4096 };
    static void piece(void *context, int32_t task, int32_t worker) {
      (void)worker;
      const struct job *j = context;
      for (int32_t i = task * PIECE; i < min32(j->n, (task + 1) * PIECE); i++) j->y[i] = j->x[i] / (1 + __builtin_fabsf(j->x[i]));
    }
    KERNEL void softsign(const float *x, float *y, int32_t n) {
      struct job j = {x, y, n};
      pool_run(piece, &j, ceil_div(n, PIECE));
    }`,
  cuda: `#include "common.cuh"
    KERNEL softsign(const float *x, float *y, int n) {
      u32 i = thread_number();
      if (i < (u32)n) y[i] = x[i] / (1 + fabsf(x[i]));
    }`,
  forward({ empty, launch }, [x]) {
    const y = empty(x.shape);
    launch('softsign', [x, y, x.size], { threads: x.size });
    return y;
  },
  backward: (_, gradient, { inputs: [x] }) => [div(gradient, square(add(abs(x), 1)))],
});

const device = await openDevice(process.argv[2] ?? 'cpu');
const x = tensor([-3, 0, 1], { device, requiresGrad: true });
const y = softsign(x);
y.backward(tensor([1, 1, 1], { device }));
console.log(`${y}\n${x.grad}`);
