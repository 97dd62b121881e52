/* The C part of the CPU device: memory from the system, copies between JavaScript arrays and device addresses, and a pool
 * of system threads. Compiled like a kernel file; needs libc and pthreads.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), used))

/* ---------------------------------------------------------------- memory */
#define HUGE_PAGE ((size_t)2 << 20)

/* Pages aligned to 2 MiB, with huge pages requested; 0 if the system has no memory left. `bytes` is a multiple of 2 MiB. */
EXPORT double runtime_reserve(double bytes) {
  size_t size = (size_t)bytes;
  void *pages = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return 0;
  uintptr_t first = (uintptr_t)pages, start = (first + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1), rest = first + HUGE_PAGE - start;
  if (start > first) munmap(pages, start - first);
  if (rest > 0) munmap((void *)(start + size), rest);
#ifdef MADV_HUGEPAGE
  madvise((void *)start, size, MADV_HUGEPAGE);
#endif
  return (double)start;
}

EXPORT void runtime_release(double address, double bytes) { munmap((void *)(uintptr_t)address, (size_t)bytes); }

EXPORT void runtime_upload(void *target, const void *source, double bytes) { memcpy(target, source, (size_t)bytes); }
EXPORT void runtime_download(void *target, const void *source, double bytes) { memcpy(target, source, (size_t)bytes); }
EXPORT void runtime_copy(void *target, const void *source, double bytes) { memmove(target, source, (size_t)bytes); }
EXPORT void runtime_fill(void *target, int32_t byte, double bytes) { memset(target, byte, (size_t)bytes); }

/* ---------------------------------------------------------------- threads */
#if defined(__x86_64__) || defined(__i386__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif
#define SPINS 20000

#include "thread_pool.h"

static int32_t started = 1; /* changed only by the thread that holds the pool */
static pthread_mutex_t sleep_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static _Thread_local int32_t thread_limit = 1;

static void sleep_while_published(uint64_t seen) {
  pthread_mutex_lock(&sleep_lock);
  while (atomic_load(&published) == seen) pthread_cond_wait(&wake, &sleep_lock);
  pthread_mutex_unlock(&sleep_lock);
}

static void wake_sleepers(void) {
  pthread_mutex_lock(&sleep_lock);
  pthread_cond_broadcast(&wake);
  pthread_mutex_unlock(&sleep_lock);
}

static void yield_processor(void) { sched_yield(); }

struct start { int32_t worker; uint64_t seen; };
static struct start starts[MOST_WORKERS];

static void *worker_main(void *argument) {
  struct start *start = argument;
  work(start->worker, start->seen);
}

static int32_t available_workers(int32_t wanted) {
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

static void pool_run(pool_body body, void *context, int32_t tasks) { share_tasks(body, context, tasks, thread_limit); }

/* How many threads kernels called from this thread may use, including this one. */
EXPORT void runtime_limit_threads(int32_t threads) {
  thread_limit = threads < 1 ? 1 : threads > MOST_WORKERS ? MOST_WORKERS : threads;
}

/* Binds a kernel file to the pool (pool_bind of kernels/include/pool.h). */
EXPORT void runtime_bind_pool(void *bind) { ((void (*)(void (*)(pool_body, void *, int32_t)))bind)(pool_run); }
