/* The pool of threads behind kernels/include/pool.h, for the system's threads and for WebAssembly's workers: how a job is
 * published, shared out and ended.
 *
 * The caller takes part as worker 0; workers spin for a while after a job and then sleep. A job is published by one 64-bit
 * word (generation, participants), so that a late worker can never mistake one job for another. Tasks are handed out by
 * an atomic counter. A second thread that finds the pool busy runs its tasks by itself.
 *
 * Who includes this defines RELAX() (a pause within a spin), SPINS (before a worker sleeps), and the four functions below.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*pool_body)(void *context, int32_t task, int32_t worker);

enum { MOST_WORKERS = 256, SPINS_BEFORE_YIELD = 2000 };

static _Atomic uint64_t published; /* generation * 1024 + participants */

/* Sleeps until `published` differs from `seen`. */
static void sleep_while_published(uint64_t seen);
static void wake_sleepers(void);
/* Gives up the processor for a moment. */
static void yield_processor(void);
/* How many of `wanted` threads there are, the caller included; starts some where it can. */
static int32_t available_workers(int32_t wanted);

static struct {
  pool_body body;
  void *context;
  int32_t tasks;
} job;
static _Atomic int32_t next_task, finished, sleepers, busy;

static void run_tasks(int32_t worker) {
  for (;;) {
    int32_t task = atomic_fetch_add_explicit(&next_task, 1, memory_order_relaxed);
    if (task >= job.tasks) return;
    job.body(job.context, task, worker);
  }
}

static uint64_t wait_for_job(uint64_t seen) {
  for (int32_t spin = 0; spin < SPINS; spin++) {
    uint64_t now = atomic_load_explicit(&published, memory_order_acquire);
    if (now != seen) return now;
    RELAX();
  }
  atomic_fetch_add(&sleepers, 1);
  sleep_while_published(seen);
  atomic_fetch_sub(&sleepers, 1);
  return atomic_load(&published);
}

/* A worker's life. `seen`: what was published before it counted as available. */
static _Noreturn void work(int32_t worker, uint64_t seen) {
  for (;;) {
    seen = wait_for_job(seen);
    if (worker >= (int32_t)(seen % 1024)) continue;
    run_tasks(worker);
    atomic_fetch_add_explicit(&finished, 1, memory_order_release);
  }
}

/* Runs the tasks by the calling thread and up to limit - 1 workers. */
static void share_tasks(pool_body body, void *context, int32_t tasks, int32_t limit) {
  int32_t wanted = limit < tasks ? limit : tasks;
  if (wanted <= 1 || atomic_exchange_explicit(&busy, 1, memory_order_acquire)) {
    for (int32_t task = 0; task < tasks; task++) body(context, task, 0);
    return;
  }
  int32_t participants = available_workers(wanted);
  job.body = body;
  job.context = context;
  job.tasks = tasks;
  atomic_store_explicit(&next_task, 0, memory_order_relaxed);
  atomic_store_explicit(&finished, 0, memory_order_relaxed);
  uint64_t generation = atomic_load_explicit(&published, memory_order_relaxed) / 1024 + 1;
  atomic_store(&published, generation * 1024 + (uint64_t)participants);
  if (atomic_load(&sleepers) > 0) wake_sleepers();
  run_tasks(0);
  for (int32_t spin = 0; atomic_load_explicit(&finished, memory_order_acquire) != participants - 1; spin++) {
    if (spin < SPINS_BEFORE_YIELD) RELAX();
    else yield_processor();
  }
  atomic_store_explicit(&busy, 0, memory_order_release);
}
