// One block of threads on one thread of the host: each is a fiber with its own stack, which runs until it waits for
// others. Three schedules decide which runs next, because a race shows under one order and hides under another.
#pragma once
#include "runtime.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace fibers {

enum Schedule { ROUND, FORWARD, BACKWARD };
enum State { READY, AT_BARRIER, AT_WARP, AT_PHASE, DONE };

constexpr int MOST_THREADS = 1024, WARP = 32;
constexpr size_t STACK = 64 << 10;

#if defined(__x86_64__)
typedef void *Context;
extern "C" void fake_switch(Context *save, Context to);
asm(R"(.text
.globl fake_switch
.hidden fake_switch
.type fake_switch,@function
fake_switch:
  pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
  movq %rsp,(%rdi); movq %rsi,%rsp
  popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
  ret
)");
inline void begin(Context &context, char *stack, void (*entry)()) {
  void **top = (void **)(((uintptr_t)stack + STACK) & ~(uintptr_t)15);
  *--top = nullptr;
  *--top = (void *)entry;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  context = top;
}
inline void change(Context &from, Context &to) { fake_switch(&from, to); }
#else
typedef ucontext_t Context;
inline void begin(Context &context, char *stack, void (*entry)()) {
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, entry, 0);
}
inline void change(Context &from, Context &to) { swapcontext(&from, &to); }
#endif

struct Fiber {
  Context context;
  State state;
  int line; /* of the barrier it waits at */
  const void *barrier; /* the mbarrier it waits at, and for the phase of which parity */
  unsigned parity;
  uint64_t result;
};

struct Warp {
  unsigned arrived, mask;
  void (*call)(void *const *);
  void *lanes[WARP];
  FakeCollective operation;
  uint64_t value[WARP];
  unsigned argument[WARP];
};

inline FakeRuntime runtime;
inline Fiber fiber[MOST_THREADS];
inline Warp warp[MOST_THREADS / WARP];
inline Context scheduler;
inline int threads, current;
inline void (*body)(void **);
inline void **parameters;
inline char *shared_begin, *shared_end; /* static shared memory */
inline size_t dynamic_bytes;
inline std::string fault; /* the error of this launch; empty: none */

inline void select(int i) {
  current = i;
  runtime.thread = {(unsigned)i % runtime.block_size.x, (unsigned)i / runtime.block_size.x % runtime.block_size.y,
                    (unsigned)i / (runtime.block_size.x * runtime.block_size.y)};
}

inline std::string place() {
  char text[160];
  const FakeIndex &b = runtime.block, &t = runtime.thread;
  snprintf(text, sizeof text, "block (%u, %u, %u), thread (%u, %u, %u)", b.x, b.y, b.z, t.x, t.y, t.z);
  return text;
}

inline void wait(State state) {
  fiber[current].state = state;
  change(fiber[current].context, scheduler);
}

/* Ends the launch. */
inline void fail(const std::string &text) {
  if (fault.empty()) fault = text + ", " + place();
  wait(DONE);
}

inline void barrier(int line) {
  fiber[current].line = line;
  wait(AT_BARRIER);
}

inline unsigned lane() { return (unsigned)(current % WARP); }

inline uint64_t collective(FakeCollective operation, unsigned mask, uint64_t value, unsigned argument) {
  int first = current / WARP * WARP;
  Warp &w = warp[first / WARP];
  int there = threads - first < WARP ? threads - first : WARP;
  mask &= there == WARP ? 0xFFFFFFFFu : (1u << there) - 1;
  unsigned me = 1u << lane();
  if (!(mask & me)) fail("a warp operation whose mask lacks the calling lane");
  if (w.arrived && (w.mask != mask || w.operation != operation)) fail("lanes of a warp at different warp operations");
  w.mask = mask;
  w.operation = operation;
  w.value[lane()] = value;
  w.argument[lane()] = argument;
  w.arrived |= me;
  if (w.arrived != mask) {
    wait(AT_WARP);
    return fiber[current].result;
  }
  w.arrived = 0;
  uint64_t votes = 0;
  for (int l = 0; l < there; l++)
    if (mask >> l & 1 && w.value[l]) votes |= 1ull << l;
  for (int l = 0; l < there; l++) {
    if (!(mask >> l & 1)) continue;
    unsigned from = w.argument[l] & 31;
    /* The value of a lane that does not take part is undefined: NaN. */
    uint64_t got = operation == FAKE_SHUFFLE ? (mask >> from & 1 ? w.value[from] : ~0ull) : votes;
    fiber[first + l].result = got;
    if (first + l != current) fiber[first + l].state = READY;
  }
  return fiber[current].result;
}

inline void trap() { fail("__trap()"); }

/* A matrix instruction: the last lane to arrive runs it for all. */
inline void warp_call(void (*call)(void *const *), void *mine) {
  int first = current / WARP * WARP;
  Warp &w = warp[first / WARP];
  if (threads - first < WARP) fail("a matrix instruction of a warp that is not whole");
  if (w.arrived && (w.operation != FAKE_CALL || w.call != call)) fail("lanes of a warp at different warp operations");
  w.operation = FAKE_CALL;
  w.mask = 0xFFFFFFFFu;
  w.call = call;
  w.lanes[lane()] = mine;
  w.arrived |= 1u << lane();
  if (w.arrived != 0xFFFFFFFFu) {
    wait(AT_WARP);
    return;
  }
  w.arrived = 0;
  call(w.lanes);
  for (int l = 0; l < WARP; l++)
    if (first + l != current) fiber[first + l].state = READY;
}

/* ---------------------------------------------------------------- asynchronous copies
 * FAKECUDA_COPIES: a copy runs at once (eager, the default) or only when its thread waits for it (deferred). The hardware
 * may do either.
 */
struct Copy {
  void *target;
  const void *source;
  int bytes, group;
};

struct Copies {
  std::vector<Copy> waiting;
  int group; /* the group that copies join */
};

inline Copies copies[MOST_THREADS];

inline bool deferred() {
  const char *text = getenv("FAKECUDA_COPIES");
  if (!text || !strcmp(text, "eager")) return false;
  if (!strcmp(text, "deferred")) return true;
  fprintf(stderr, "fakecuda: FAKECUDA_COPIES is eager or deferred, not %s\n", text);
  abort();
}

inline void check_shared(const void *address, int bytes) {
  const char *from = (const char *)address, *to = from + bytes;
  if ((uintptr_t)address % (uintptr_t)bytes) fail("shared memory not aligned to " + std::to_string(bytes) + " bytes");
  bool fixed = from >= shared_begin && to <= shared_end, dynamic = from >= runtime.dynamic && to <= runtime.dynamic + dynamic_bytes;
  if (!fixed && !dynamic) fail("an address outside of shared memory where one within is needed");
}

inline void complete(const Copy &copy) {
  memset(copy.target, 0, 16);
  memcpy(copy.target, copy.source, (size_t)copy.bytes);
}

inline void copy_async(void *shared, const void *global, int bytes) {
  check_shared(shared, 16);
  if ((uintptr_t)global % 16) fail("an asynchronous copy from an address not aligned to 16 bytes");
  copies[current].waiting.push_back({shared, global, bytes, copies[current].group});
  if (!deferred()) complete(copies[current].waiting.back());
}

inline void copy_async_commit() { copies[current].group++; }

inline void copy_async_wait(int youngest) {
  Copies &mine = copies[current];
  std::vector<Copy> left;
  for (const Copy &copy : mine.waiting) {
    if (copy.group >= mine.group - youngest) left.push_back(copy);
    else if (deferred()) complete(copy);
  }
  mine.waiting = left;
}

}  // namespace fibers

#include "hopper.h"

namespace fibers {

inline void entry() {
  body(parameters);
  if (!copies[current].waiting.empty()) fail("a thread ends with copies that it has not waited for");
  wait(DONE);
}

/* FAKECUDA_SUMS: how tensor cores add, rounded (the default) or truncated, as those of sm_80 or of sm_90 do. */
inline bool truncated() {
  const char *text = getenv("FAKECUDA_SUMS");
  if (!text || !strcmp(text, "rounded")) return false;
  if (!strcmp(text, "truncated")) return true;
  fprintf(stderr, "fakecuda: FAKECUDA_SUMS is rounded or truncated, not %s\n", text);
  abort();
}

/* The functions that kernels call, for one module, whose static shared memory is given. */
inline void connect(char *begin, char *end, size_t dynamic, int capability) {
  bool hopper = capability >= 90, cut = truncated();
  runtime.sums_bf16 = {!cut ? 0 : hopper ? 16 : 8, hopper ? 2 : 1};
  runtime.sums_tf32 = {!cut ? 0 : hopper ? 8 : 4, hopper ? 2 : 1};
  shared_begin = begin, shared_end = end, dynamic_bytes = dynamic;
  runtime.barrier = barrier;
  runtime.collective = collective;
  runtime.lane = lane;
  runtime.trap = trap;
  runtime.warp_call = warp_call;
  runtime.copy_async = copy_async;
  runtime.copy_async_commit = copy_async_commit;
  runtime.copy_async_wait = copy_async_wait;
  runtime.check_shared = check_shared;
  runtime.barrier_init = barrier_init;
  runtime.barriers_announce = barriers_announce;
  runtime.barrier_arrive = barrier_arrive;
  runtime.barrier_wait = barrier_wait;
  runtime.load_tensor = load_tensor;
  runtime.warpgroup_call = warpgroup_call;
}

inline char *stacks() {
  static char *memory = (char *)mmap(nullptr, STACK * MOST_THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory;
}

inline bool resume(int i) {
  Fiber &f = fiber[i];
  if (f.state == AT_PHASE && phase_ended(f.barrier, f.parity)) f.state = READY;
  if (f.state != READY) return false;
  select(i);
  change(scheduler, f.context);
  return true;
}

/* Runs each ready thread once (round), or each warp as far as possible (forward, backward). Returns whether any ran. */
inline bool pass(Schedule schedule) {
  bool any = false;
  if (schedule == ROUND) {
    for (int i = 0; i < threads && fault.empty(); i++) any |= resume(i);
    return any;
  }
  int warps = (threads + WARP - 1) / WARP;
  for (int n = 0; n < warps; n++) {
    int first = (schedule == FORWARD ? n : warps - 1 - n) * WARP;
    int count = threads - first < WARP ? threads - first : WARP;
    for (bool more = true; more && fault.empty();) {
      more = false;
      for (int k = 0; k < count && fault.empty(); k++) more |= resume(first + (schedule == FORWARD ? k : count - 1 - k));
      any |= more;
    }
  }
  return any;
}

/* Called when all remaining threads wait: lets them through the barrier, or reports the fault. */
inline void release() {
  if (finish_transfer()) return;
  int waiting = 0, done = 0, line = 0;
  for (int i = 0; i < threads; i++) {
    if (fiber[i].state == DONE) {
      done++;
      continue;
    }
    select(i);
    if (fiber[i].state == AT_WARP) {
      fault = "a warp operation that not all lanes of its mask reach, " + place();
      return;
    }
    if (fiber[i].state == AT_PHASE) {
      fault = "a wait for a phase of an mbarrier that does not end, " + place();
      return;
    }
    if (waiting++ && fiber[i].line != line) {
      fault = "threads at different barriers (lines " + std::to_string(line) + " and " + std::to_string(fiber[i].line) + "), " + place();
      return;
    }
    line = fiber[i].line;
  }
  if (done) {
    fault = "__syncthreads() in line " + std::to_string(line) + " that " + std::to_string(done) + " threads do not reach, " + place();
    return;
  }
  for (int i = 0; i < threads; i++) fiber[i].state = READY;
}

/* Runs one block; `cooperative`: its threads may wait for each other. */
inline void run_block(Schedule schedule, bool cooperative) {
  if (!cooperative) {
    for (int i = 0; i < threads && fault.empty(); i++) {
      select(schedule == BACKWARD ? threads - 1 - i : i);
      body(parameters);
    }
    return;
  }
  for (int i = 0; i < threads; i++) {
    fiber[i].state = READY;
    copies[i].waiting.clear();
    copies[i].group = 0;
    begin(fiber[i].context, stacks() + STACK * (size_t)i, entry);
  }
  memset(warp, 0, sizeof warp);
  begin_async();
  for (;;) {
    while (fault.empty() && pass(schedule)) {
    }
    if (!fault.empty()) return;
    bool left = false;
    for (int i = 0; i < threads; i++) left |= fiber[i].state != DONE;
    if (!left) return end_async();
    release();
    if (!fault.empty()) return;
  }
}

}  // namespace fibers
