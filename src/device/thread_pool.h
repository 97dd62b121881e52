/* The thread pool behind kernels/include/pool.h, for system threads and WebAssembly workers: how a job is published,
 * distributed and finished.
 *
 * The caller takes part as worker 0; workers spin for a while after a job and then sleep. A job is published by one 64-bit
 * word (generation, participants), so that a late worker can never mistake one job for another. Tasks are handed out by
 * an atomic counter. A second thread that finds the pool busy runs its tasks by itself.
 *
 * The including file defines RELAX() (a pause within a spin), SPINS (before a worker sleeps), and the four functions below.
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
/* Yields the processor. */
static void yield_processor(void);
/* The number of available threads up to `wanted`, including the caller; starts more if it can. */
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

/* The main loop of a worker. `seen` is what was published before the worker became available. */
static _Noreturn void work(int32_t worker, uint64_t seen) {
  for (;;) {
    seen = wait_for_job(seen);
    if (worker >= (int32_t)(seen % 1024)) continue;
    run_tasks(worker);
    atomic_fetch_add_explicit(&finished, 1, memory_order_release);
  }
}

/* Runs the tasks on the calling thread and up to limit - 1 workers. */
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
