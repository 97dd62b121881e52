/* The C part of the WebAssembly device: copies within its memory, and a pool of JavaScript workers. Each worker has an
 * instance of the same module on the same memory with its own stack; function pointers are the same in each.
 */
#define RELAX() ((void)0)
/* WebAssembly has no pause instruction; this many iterations take about the half millisecond that system threads spin. */
#define SPINS 400000

#include "thread_pool.h"

#define EXPORT __attribute__((visibility("default"), used))

EXPORT void runtime_copy(void *target, const void *source, double bytes) { __builtin_memmove(target, source, (size_t)bytes); }
EXPORT void runtime_fill(void *target, int32_t byte, double bytes) { __builtin_memset(target, byte, (size_t)bytes); }

static _Atomic int32_t joined = 1, failed;
static uint64_t seen_by[MOST_WORKERS];
static int32_t width = 1, may_sleep;

/* Only workers sleep here; in a browser the first thread may not. */
static void sleep_while_published(uint64_t seen) {
  while (atomic_load(&published) == seen) __builtin_wasm_memory_atomic_wait64((int64_t *)&published, (int64_t)seen, -1);
}

static void wake_sleepers(void) { __builtin_wasm_memory_atomic_notify((int32_t *)&published, MOST_WORKERS); }

static void yield_processor(void) {
  static int32_t unchanged;
  if (may_sleep) __builtin_wasm_memory_atomic_wait32(&unchanged, 0, 20000); /* nanoseconds */
}

static int32_t available_workers(int32_t wanted) {
  int32_t there = atomic_load(&joined);
  return there < wanted ? there : wanted;
}

/* The number of threads that kernels use, including the calling one, and whether that one may sleep. */
EXPORT void runtime_configure(int32_t threads, int32_t sleep) {
  width = threads;
  may_sleep = sleep;
}

/* Called once by each worker: returns its number. From here on it takes part in jobs. */
EXPORT int32_t runtime_join(void) {
  uint64_t seen = atomic_load(&published);
  int32_t worker = atomic_fetch_add(&joined, 1);
  seen_by[worker] = seen;
  return worker;
}

/* The main loop of a worker. */
EXPORT void runtime_work(int32_t worker) { work(worker, seen_by[worker]); }

/* Called after a trap in any thread: no job waits for that thread, and every later job traps. */
EXPORT void runtime_failed(void) {
  atomic_store(&failed, 1);
  atomic_fetch_add(&finished, 1);
}

void pool_run(pool_body body, void *context, int32_t tasks);
void pool_run(pool_body body, void *context, int32_t tasks) {
  if (!atomic_load(&failed)) share_tasks(body, context, tasks, width);
  if (atomic_load(&failed)) __builtin_trap();
}
