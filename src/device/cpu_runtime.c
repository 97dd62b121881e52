/* The CPU device's own C: memory from the system, copies between JavaScript's arrays and device addresses, and the
 * pool of threads behind kernels/pool.h. Compiled like a kernel file; needs libc and pthreads.
 *
 * The pool: the caller takes part as worker 0; workers spin for a while after a job and then sleep. A job is published
 * by one 64-bit word (generation, participants), so that a late worker can never mistake one job for another. Tasks
 * are handed out by an atomic counter. A second thread that finds the pool busy runs its tasks by itself.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), used))

#if defined(__x86_64__) || defined(__i386__)
#define cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define cpu_relax() __asm__ volatile("yield")
#else
#define cpu_relax() ((void)0)
#endif

/* ---------------------------------------------------------------- memory */
#define HUGE_PAGE ((size_t)2 << 20)

/* Pages at an address that is a multiple of 2 MiB, asked to be huge ones; 0 when the system has none left. */
EXPORT double runtime_reserve(double bytes) {
  size_t size = (size_t)bytes + HUGE_PAGE;
  void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return 0;
  uintptr_t start = ((uintptr_t)pages + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1);
#ifdef MADV_HUGEPAGE
  madvise((void *)start, (size_t)bytes, MADV_HUGEPAGE);
#endif
  return (double)start;
}

EXPORT void runtime_upload(void *target, const void *source, double bytes) { memcpy(target, source, (size_t)bytes); }
EXPORT void runtime_download(void *target, const void *source, double bytes) { memcpy(target, source, (size_t)bytes); }
EXPORT void runtime_copy(void *target, const void *source, double bytes) { memmove(target, source, (size_t)bytes); }
EXPORT void runtime_fill(void *target, int32_t byte, double bytes) { memset(target, byte, (size_t)bytes); }

/* ---------------------------------------------------------------- threads */
typedef void (*pool_body)(void *context, int32_t task, int32_t worker);

enum { MOST_WORKERS = 256, SPINS = 20000, SPINS_BEFORE_YIELD = 2000 };

static struct {
  pool_body body;
  void *context;
  int32_t tasks;
} job;
static _Atomic uint64_t published; /* generation * 1024 + participants */
static _Atomic int32_t next_task, finished, sleepers, busy;
static int32_t started = 1; /* changed only by the thread that holds `busy` */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static _Thread_local int32_t thread_limit = 1;

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
    cpu_relax();
  }
  pthread_mutex_lock(&sleep_lock);
  atomic_fetch_add(&sleepers, 1);
  uint64_t now;
  while ((now = atomic_load(&published)) == seen) pthread_cond_wait(&wake, &sleep_lock);
  atomic_fetch_sub(&sleepers, 1);
  pthread_mutex_unlock(&sleep_lock);
  return now;
}

struct start { int32_t worker; uint64_t seen; };
static struct start starts[MOST_WORKERS];

static void *worker_main(void *argument) {
  struct start *start = argument;
  uint64_t seen = start->seen;
  for (;;) {
    seen = wait_for_job(seen);
    if (start->worker >= (int32_t)(seen % 1024)) continue;
    run_tasks(start->worker);
    atomic_fetch_add_explicit(&finished, 1, memory_order_release);
  }
  return NULL;
}

static int32_t start_workers(int32_t wanted) {
  while (started < wanted) {
    starts[started] = (struct start){started, atomic_load(&published)};
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, worker_main, &starts[started]);
    pthread_attr_destroy(&attributes);
    if (failed) break; /* fewer threads give the same results */
    started++;
  }
  return started < wanted ? started : wanted;
}

static void pool_run(pool_body body, void *context, int32_t tasks) {
  int32_t wanted = thread_limit < tasks ? thread_limit : tasks;
  if (wanted <= 1 || atomic_exchange_explicit(&busy, 1, memory_order_acquire)) {
    for (int32_t task = 0; task < tasks; task++) body(context, task, 0);
    return;
  }
  int32_t participants = start_workers(wanted);
  job.body = body;
  job.context = context;
  job.tasks = tasks;
  atomic_store_explicit(&next_task, 0, memory_order_relaxed);
  atomic_store_explicit(&finished, 0, memory_order_relaxed);
  uint64_t generation = atomic_load_explicit(&published, memory_order_relaxed) / 1024 + 1;
  atomic_store(&published, generation * 1024 + (uint64_t)participants);
  if (atomic_load(&sleepers) > 0) {
    pthread_mutex_lock(&sleep_lock);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&sleep_lock);
  }
  run_tasks(0);
  for (int32_t spin = 0; atomic_load_explicit(&finished, memory_order_acquire) != participants - 1; spin++) {
    if (spin < SPINS_BEFORE_YIELD) cpu_relax();
    else sched_yield();
  }
  atomic_store_explicit(&busy, 0, memory_order_release);
}

/* How many threads kernels called from this thread may use, this one included. */
EXPORT void runtime_limit_threads(int32_t threads) {
  thread_limit = threads < 1 ? 1 : threads > MOST_WORKERS ? MOST_WORKERS : threads;
}

/* Gives a kernel file its pool (pool_bind of kernels/pool.h). */
EXPORT void runtime_bind_pool(void *bind) { ((void (*)(void (*)(pool_body, void *, int32_t)))bind)(pool_run); }
