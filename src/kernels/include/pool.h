/* How a kernel distributes work over threads: pool_run(body, context, tasks) calls body once for every task number and
 * returns when all are done. A result may depend on the task number, but not on the worker or the number of workers, so
 * that any thread count gives the same bits. The pool itself is in device/thread_pool.h. On the device cpu it is bound after a
 * kernel file is loaded; in WebAssembly it is linked into the same module.
 */
#ifndef RECTIFLOW_POOL_H
#define RECTIFLOW_POOL_H

#include "common.h"

typedef void (*pool_body)(void *context, int32_t task, int32_t worker);

#ifdef __wasm__
void pool_run(pool_body body, void *context, int32_t tasks); /* device/wasm_runtime.c */
#else
typedef void (*pool_runner)(pool_body body, void *context, int32_t tasks);
static pool_runner bound_pool;

/* Called by the device when it loads this file; not a kernel. */
__attribute__((visibility("default"), used)) void pool_bind(pool_runner runner) { bound_pool = runner; }

INLINE void pool_run(pool_body body, void *context, int32_t tasks) {
  if (tasks == 1) body(context, 0, 0);
  else if (tasks > 0) bound_pool(body, context, tasks);
}
#endif

#endif
