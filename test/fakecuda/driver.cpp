// A stand-in for libcuda: device memory is host memory between guard pages, a launch runs blocks one after another on
// fibers, and calls that the real driver refuses fail with the same code. It only loads images of nvrtc.cpp.
//
//   FAKECUDA_SCHEDULE  round (default), forward, backward
//   FAKECUDA_COPIES    eager (default), deferred: when an asynchronous copy runs
//   FAKECUDA_SUMS      rounded (default), truncated: how tensor cores add (sums.h)
//   FAKECUDA_CARDS     the number of cards (default 2)
//   FAKECUDA_ARCH      their compute capability (default 90)
//   FAKECUDA_MEMORY    bytes of each card (default 4 GiB)
//   FAKECUDA_CALLS     a file to which the name of every call is appended
#include "fibers.h"
#include "image.h"
#include <csetjmp>
#include <csignal>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <mutex>
#include <pthread.h>
#include <set>
#include <vector>

#define EXPORT extern "C" __attribute__((visibility("default")))

enum Result {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209,
  INVALID_PTX = 218,
  INVALID_HANDLE = 400,
  ILLEGAL_STATE = 401,
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  CONTEXT_IS_DESTROYED = 709,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_UNJOINED = 904,
  CAPTURE_IMPLICIT = 906,
  CAPTURE_WRONG_THREAD = 908,
};

struct Text { int code; const char *name, *words; };
static const Text texts[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "capturing stream has unjoined work"},
    {CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "operation would make the legacy stream depend on a capturing blocking stream"},
    {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "attempt to terminate a thread-local capture sequence from another thread"},
};

constexpr size_t ADDRESSES = 1ull << 40, GUARD = 64 << 10;
constexpr size_t PAGE = 4096, ALIGNMENT = 256, STATIC_SHARED = 48 << 10, MOST_SHARED = 227 << 10;
constexpr unsigned char SLACK = 0xFB, FRESH = 0xFF; /* fresh memory is NaN */

struct Context {
  int device, users, error;
};
struct Allocation {
  size_t bytes;
  char *pages; /* hold this allocation and nothing else */
  size_t pages_bytes;
  Context *context;
};
struct Capture;
struct Stream { Context *context; bool busy; Capture *capture; };
/* A graph holds its work in an order in which it may run. */
struct Graph { Context *context; std::vector<std::function<int()>> nodes; };
struct GraphExec { Context *context; std::vector<std::function<int()>> nodes; };
/* A capture begins in one stream; others join it by waiting for its events, and must be waited for before it ends. */
struct Capture {
  Stream *origin;
  Graph *graph;
  bool invalid;
  std::map<Stream *, size_t> unjoined; /* side stream: nodes of the graph when it last got work */
};
struct Event { Context *context; bool timed, recorded; double time; Capture *capture; Stream *stream; size_t nodes; };
struct Module;
struct Function { const FakeKernel *kernel; Module *module; size_t most_shared; };
struct Module {
  Context *context;
  FakeModule code;
  std::map<std::string, Function *> functions;
};

static std::mutex lock;
static bool initialised;
static std::map<int, Context> contexts;
static std::map<uintptr_t, Allocation> allocations;
static std::set<Stream *> streams;
static std::set<Module *> modules;
static std::set<Function *> functions;
static std::set<Event *> events;
static std::set<Graph *> graphs;
static std::set<GraphExec *> execs;
static std::map<uintptr_t, std::pair<size_t, Context *>> pinned;
static thread_local Context *current_context;
/* The calling thread's capture in thread-local mode, and whether the thread may make unsafe calls nevertheless. */
enum { CAPTURE_GLOBAL = 0, CAPTURE_THREAD_LOCAL = 1, CAPTURE_RELAXED = 2 };
static thread_local Capture *own_capture;
static thread_local int capture_mode = CAPTURE_GLOBAL;

static long setting(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}
static int cards() { return (int)setting("FAKECUDA_CARDS", 2); }
static int capability() { return (int)setting("FAKECUDA_ARCH", 90); }
static size_t card_memory() { return (size_t)setting("FAKECUDA_MEMORY", 4l << 30); }
static fibers::Schedule schedule() {
  const char *text = getenv("FAKECUDA_SCHEDULE");
  if (!text || !strcmp(text, "round")) return fibers::ROUND;
  if (!strcmp(text, "forward")) return fibers::FORWARD;
  if (!strcmp(text, "backward")) return fibers::BACKWARD;
  fprintf(stderr, "fakecuda: FAKECUDA_SCHEDULE is round, forward or backward, not %s\n", text);
  abort();
}

/* Every call begins with these checks: one thread at a time, an initialised driver, a live context. */
static void note_call(const char *name) {
  const char *path = getenv("FAKECUDA_CALLS");
  if (!path) return;
  if (FILE *file = fopen(path, "a")) fprintf(file, "%s\n", name), fclose(file);
}
#define ENTER                                          \
  std::lock_guard<std::mutex> guard(lock);             \
  note_call(__func__);                                 \
  if (!initialised) return NOT_INITIALIZED;
#define ENTER_CONTEXT                                  \
  ENTER                                                \
  if (!current_context) return INVALID_CONTEXT;        \
  if (!current_context->users) return CONTEXT_IS_DESTROYED; \
  if (current_context->error) return current_context->error;

/* A call that may wait for the device invalidates a capture of this thread, unless the thread is in relaxed mode. */
#define FORBIDDEN_IN_CAPTURE                                                       \
  if (own_capture && capture_mode != CAPTURE_RELAXED) {                            \
    own_capture->invalid = true;                                                   \
    return CAPTURE_UNSUPPORTED;                                                    \
  }

/* ---------------------------------------------------------------- the driver, its cards, contexts */
EXPORT int cuInit(unsigned flags) {
  std::lock_guard<std::mutex> guard(lock);
  if (flags) return INVALID_VALUE;
  if (cards() == 0) return NO_DEVICE;
  initialised = true;
  return SUCCESS;
}

EXPORT int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }

static const Text *text_of(int code) {
  for (const Text &text : texts)
    if (text.code == code) return &text;
  return nullptr;
}
EXPORT int cuGetErrorName(int code, const char **place) {
  const Text *text = text_of(code);
  return *place = text ? text->name : nullptr, text ? SUCCESS : INVALID_VALUE;
}
EXPORT int cuGetErrorString(int code, const char **place) {
  const Text *text = text_of(code);
  return *place = text ? text->words : nullptr, text ? SUCCESS : INVALID_VALUE;
}

EXPORT int cuDeviceGetCount(int *count) {
  ENTER
  return *count = cards(), SUCCESS;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
  ENTER
  if (ordinal < 0 || ordinal >= cards()) return INVALID_DEVICE;
  return *device = ordinal, SUCCESS;
}

EXPORT int cuDeviceGetName(char *name, int size, int device) {
  ENTER
  if (device < 0 || device >= cards()) return INVALID_DEVICE;
  snprintf(name, (size_t)size, "Emulated card %d", device);
  return SUCCESS;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int device) {
  ENTER
  if (device < 0 || device >= cards()) return INVALID_DEVICE;
  switch (attribute) {
    case 16: return *value = 4, SUCCESS;
    case 75: return *value = capability() / 10, SUCCESS;
    case 76: return *value = capability() % 10, SUCCESS;
    case 97: return *value = MOST_SHARED, SUCCESS;
    default: return INVALID_VALUE;
  }
}

EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  ENTER
  if (device < 0 || device >= cards()) return INVALID_DEVICE;
  return *bytes = card_memory(), SUCCESS;
}

EXPORT int cuDevicePrimaryCtxRetain(Context **place, int device) {
  ENTER
  if (device < 0 || device >= cards()) return INVALID_DEVICE;
  Context &context = contexts[device];
  context.device = device;
  if (context.users++ == 0) context.error = 0;
  return *place = &context, SUCCESS;
}

static void unmap(std::map<uintptr_t, Allocation>::iterator at) {
  madvise(at->second.pages, at->second.pages_bytes, MADV_DONTNEED);
  mprotect(at->second.pages, at->second.pages_bytes, PROT_NONE);
  allocations.erase(at);
}

/* Unused pages of the cards' address space: freed pages are never reused, so that access to them always faults. */
static char *map_pages(size_t bytes) {
  static char *space = (char *)mmap(nullptr, ADDRESSES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  static size_t used = GUARD;
  if (space == MAP_FAILED || used + bytes + GUARD > ADDRESSES) return nullptr;
  char *pages = space + used;
  if (mprotect(pages, bytes, PROT_READ | PROT_WRITE)) return nullptr;
  used += bytes + GUARD;
  return pages;
}

static void unload(Module *module) {
  for (auto &[name, function] : module->functions) {
    functions.erase(function);
    delete function;
  }
  modules.erase(module);
  delete module;
}

template <typename T> static void destroy_of(std::set<T *> &all, Context *context) {
  for (T *one : std::set<T *>(all))
    if (one->context == context) all.erase(one), delete one;
}

EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
  ENTER
  if (!contexts.count(device) || !contexts[device].users) return INVALID_CONTEXT;
  Context *context = &contexts[device];
  if (--context->users) return SUCCESS;
  for (auto at = allocations.begin(); at != allocations.end();) {
    auto next = std::next(at);
    if (at->second.context == context) unmap(at);
    at = next;
  }
  for (Module *module : std::set<Module *>(modules))
    if (module->context == context) unload(module);
  destroy_of(events, context);
  destroy_of(graphs, context);
  destroy_of(execs, context);
  for (auto at = pinned.begin(); at != pinned.end();)
    if (at->second.second == context) free((void *)at->first), at = pinned.erase(at);
    else at++;
  for (Stream *stream : std::set<Stream *>(streams))
    if (stream->context == context) {
      streams.erase(stream);
      delete stream;
    }
  return SUCCESS;
}

EXPORT int cuCtxSetCurrent(Context *context) {
  ENTER
  if (context) {
    bool known = false;
    for (auto &[device, one] : contexts) known |= &one == context && one.users;
    if (!known) return INVALID_CONTEXT;
  }
  current_context = context;
  return SUCCESS;
}

/* ---------------------------------------------------------------- memory */
EXPORT int cuMemAlloc_v2(uintptr_t *place, size_t bytes) {
  ENTER_CONTEXT
  FORBIDDEN_IN_CAPTURE
  if (bytes == 0) return INVALID_VALUE;
  size_t used = 0;
  for (auto &[address, one] : allocations)
    if (one.context == current_context) used += one.bytes;
  if (used + bytes > card_memory()) return OUT_OF_MEMORY;
  /* The memory ends at a guard page, up to alignment. */
  size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
  char *pages = map_pages(size);
  if (!pages) return OUT_OF_MEMORY;
  uintptr_t address = (uintptr_t)pages + size - (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  memset(pages, SLACK, size);
  memset((void *)address, FRESH, bytes);
  allocations[address] = {bytes, pages, size, current_context};
  return *place = address, SUCCESS;
}

EXPORT int cuMemFree_v2(uintptr_t address) {
  ENTER_CONTEXT
  FORBIDDEN_IN_CAPTURE
  auto at = allocations.find(address);
  if (at == allocations.end()) return INVALID_VALUE;
  unmap(at);
  return SUCCESS;
}

/* Whether [address, address + bytes) lies within one allocation. */
static bool inside(uintptr_t address, size_t bytes) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  auto &[start, allocation] = *std::prev(next);
  return address + bytes <= start + allocation.bytes && address + bytes >= address;
}

/* Describes the first byte outside its allocation that was written; empty: none. */
static std::string damage() {
  for (auto &[address, one] : allocations) {
    char *end = one.pages + one.pages_bytes;
    for (unsigned char *p = (unsigned char *)address + one.bytes; p < (unsigned char *)end; p++)
      if (*p != SLACK) return std::to_string((size_t)p - address - one.bytes) + " bytes beyond an allocation of " + std::to_string(one.bytes);
    unsigned char *begin = (unsigned char *)one.pages, *start = (unsigned char *)address;
    for (unsigned char *p = start - begin > 256 ? start - 256 : begin; p < start; p++)
      if (*p != SLACK) return std::to_string(start - p) + " bytes before an allocation of " + std::to_string(one.bytes);
  }
  return "";
}

static int check_stream(Stream *stream) {
  if (!stream) return SUCCESS;
  return streams.count(stream) && stream->context == current_context ? SUCCESS : INVALID_HANDLE;
}

#define CHECK_STREAM(stream) \
  if (int code = check_stream(stream)) return code;

/* Runs work of a stream at once, or records it if the stream is being captured. */
static int enqueue(Stream *stream, std::function<int()> work) {
  if (!stream && own_capture) return own_capture->invalid = true, CAPTURE_IMPLICIT;
  if (!stream || !stream->capture) return work();
  Capture &capture = *stream->capture;
  if (capture.invalid) return CAPTURE_INVALIDATED;
  capture.graph->nodes.push_back(std::move(work));
  if (stream != capture.origin) capture.unjoined[stream] = capture.graph->nodes.size();
  return SUCCESS;
}

/* Whether [address, address + bytes) is pinned host memory. */
static bool is_pinned(const void *address, size_t bytes) {
  auto next = pinned.upper_bound((uintptr_t)address);
  if (next == pinned.begin()) return false;
  auto &[start, one] = *std::prev(next);
  return (uintptr_t)address + bytes <= start + one.first;
}

EXPORT int cuMemHostAlloc(void **place, size_t bytes, unsigned flags) {
  ENTER_CONTEXT
  FORBIDDEN_IN_CAPTURE
  if (bytes == 0 || flags > 7) return INVALID_VALUE;
  void *memory = malloc(bytes);
  memset(memory, FRESH, bytes);
  pinned[(uintptr_t)memory] = {bytes, current_context};
  return *place = memory, SUCCESS;
}

EXPORT int cuMemFreeHost(void *address) {
  ENTER_CONTEXT
  FORBIDDEN_IN_CAPTURE
  if (!pinned.erase((uintptr_t)address)) return INVALID_VALUE;
  free(address);
  return SUCCESS;
}

EXPORT int cuMemcpyHtoDAsync_v2(uintptr_t target, const void *source, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(target, bytes) || !source) return INVALID_VALUE;
  /* Pageable memory is read during the call, which cannot be captured. */
  if (!is_pinned(source, bytes)) FORBIDDEN_IN_CAPTURE
  return enqueue(stream, [=] {
    if (!inside(target, bytes)) return ILLEGAL_ADDRESS;
    memcpy((void *)target, source, bytes);
    return SUCCESS;
  });
}

EXPORT int cuMemcpyDtoHAsync_v2(void *target, uintptr_t source, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(source, bytes) || !target) return INVALID_VALUE;
  if (!is_pinned(target, bytes)) FORBIDDEN_IN_CAPTURE
  return enqueue(stream, [=] {
    if (!inside(source, bytes)) return ILLEGAL_ADDRESS;
    memcpy(target, (const void *)source, bytes);
    return SUCCESS;
  });
}

EXPORT int cuMemcpyDtoDAsync_v2(uintptr_t target, uintptr_t source, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(target, bytes) || !inside(source, bytes)) return INVALID_VALUE;
  /* The result of an overlap is undefined on a real card. */
  if (target < source + bytes && source < target + bytes) return INVALID_VALUE;
  return enqueue(stream, [=] {
    if (!inside(target, bytes) || !inside(source, bytes)) return ILLEGAL_ADDRESS;
    memcpy((void *)target, (const void *)source, bytes);
    return SUCCESS;
  });
}

EXPORT int cuMemsetD8Async(uintptr_t target, unsigned value, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(target, bytes) || value > 255) return INVALID_VALUE;
  return enqueue(stream, [=] {
    if (!inside(target, bytes)) return ILLEGAL_ADDRESS;
    memset((void *)target, (int)value, bytes);
    return SUCCESS;
  });
}

/* ---------------------------------------------------------------- streams */
EXPORT int cuStreamCreate(Stream **place, unsigned flags) {
  ENTER_CONTEXT
  if (flags > 1) return INVALID_VALUE;
  *place = new Stream{current_context, false, nullptr};
  streams.insert(*place);
  return SUCCESS;
}

EXPORT int cuStreamDestroy_v2(Stream *stream) {
  ENTER_CONTEXT
  if (!stream || check_stream(stream)) return INVALID_HANDLE;
  if (stream->capture) return CAPTURE_UNSUPPORTED;
  streams.erase(stream);
  delete stream;
  return SUCCESS;
}

#define FORBIDDEN_OF_CAPTURED(stream) \
  if (stream && stream->capture) return stream->capture->invalid = true, CAPTURE_UNSUPPORTED;

EXPORT int cuStreamSynchronize(Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  FORBIDDEN_OF_CAPTURED(stream)
  if (stream) stream->busy = false;
  return SUCCESS;
}

/* The first query after a launch returns "not ready". */
EXPORT int cuStreamQuery(Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  FORBIDDEN_OF_CAPTURED(stream)
  if (!stream || !stream->busy) return SUCCESS;
  stream->busy = false;
  return NOT_READY;
}

/* ---------------------------------------------------------------- events */
static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

EXPORT int cuEventCreate(Event **place, unsigned flags) {
  ENTER_CONTEXT
  if (flags > 7) return INVALID_VALUE;
  *place = new Event{current_context, !(flags & 2), false, 0, nullptr, nullptr, 0};
  events.insert(*place);
  return SUCCESS;
}

EXPORT int cuEventDestroy_v2(Event *event) {
  ENTER_CONTEXT
  if (!events.erase(event)) return INVALID_HANDLE;
  delete event;
  return SUCCESS;
}

EXPORT int cuEventRecord(Event *event, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!events.count(event)) return INVALID_HANDLE;
  Capture *capture = stream ? stream->capture : nullptr;
  if (capture && capture->invalid) return CAPTURE_INVALIDATED;
  event->capture = capture;
  event->stream = stream;
  event->nodes = capture ? capture->graph->nodes.size() : 0;
  event->recorded = !capture;
  event->time = now();
  return SUCCESS;
}

/* Flag 1: in a capture, a node that records the event at each replay. */
EXPORT int cuEventRecordWithFlags(Event *event, Stream *stream, unsigned flags) {
  if (flags > 1) return INVALID_VALUE;
  if (!flags || !stream || !stream->capture) return cuEventRecord(event, stream);
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!events.count(event)) return INVALID_HANDLE;
  return enqueue(stream, [=] {
    if (!events.count(event)) return ILLEGAL_ADDRESS;
    event->recorded = true;
    event->time = now();
    return SUCCESS;
  });
}

EXPORT int cuEventSynchronize(Event *event) {
  ENTER_CONTEXT
  if (!events.count(event)) return INVALID_HANDLE;
  if (event->capture) return event->capture->invalid = true, CAPTURE_UNSUPPORTED;
  return SUCCESS;
}

EXPORT int cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
  ENTER_CONTEXT
  if (!events.count(start) || !events.count(end) || !start->timed || !end->timed) return INVALID_HANDLE;
  if (!start->recorded || !end->recorded) return INVALID_HANDLE;
  return *milliseconds = (float)(end->time - start->time), SUCCESS;
}

EXPORT int cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!events.count(event)) return INVALID_HANDLE;
  if (flags > 1) return INVALID_VALUE;
  if (!event->capture) return stream && stream->capture && event->recorded ? 905 : SUCCESS;
  Capture &capture = *event->capture;
  if (capture.invalid) return CAPTURE_INVALIDATED;
  if (!stream) return capture.invalid = true, CAPTURE_IMPLICIT;
  if (stream == capture.origin) {
    /* The other stream has joined, unless it got work after the event. */
    auto side = capture.unjoined.find(event->stream);
    if (side != capture.unjoined.end() && side->second <= event->nodes) capture.unjoined.erase(side), event->stream->capture = nullptr;
    return SUCCESS;
  }
  stream->capture = &capture;
  capture.unjoined.insert({stream, capture.graph->nodes.size()});
  return SUCCESS;
}

/* ---------------------------------------------------------------- capture and graphs */
EXPORT int cuStreamBeginCapture_v2(Stream *stream, int mode) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!stream) return CAPTURE_UNSUPPORTED;
  if (mode < 0 || mode > 2) return INVALID_VALUE;
  if (stream->capture) return ILLEGAL_STATE;
  Graph *graph = new Graph{current_context, {}};
  stream->capture = new Capture{stream, graph, false, {}};
  if (mode != CAPTURE_RELAXED) own_capture = stream->capture;
  return SUCCESS;
}

EXPORT int cuThreadExchangeStreamCaptureMode(int *mode) {
  ENTER
  if (*mode < 0 || *mode > 2) return INVALID_VALUE;
  std::swap(*mode, capture_mode);
  return SUCCESS;
}

EXPORT int cuStreamEndCapture(Stream *stream, Graph **place) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!stream || !stream->capture || stream->capture->origin != stream) return ILLEGAL_STATE;
  Capture *capture = stream->capture;
  if (own_capture != capture) return CAPTURE_WRONG_THREAD;
  int code = capture->invalid ? CAPTURE_INVALIDATED : capture->unjoined.empty() ? SUCCESS : CAPTURE_UNJOINED;
  for (Stream *one : streams)
    if (one->capture == capture) one->capture = nullptr;
  for (Event *event : events)
    if (event->capture == capture) event->capture = nullptr;
  own_capture = nullptr;
  *place = nullptr;
  if (code) delete capture->graph;
  else graphs.insert(*place = capture->graph);
  delete capture;
  return code;
}

EXPORT int cuGraphInstantiateWithFlags(GraphExec **place, Graph *graph, unsigned long long flags) {
  ENTER_CONTEXT
  FORBIDDEN_IN_CAPTURE
  if (!graphs.count(graph)) return INVALID_VALUE;
  if (flags) return INVALID_VALUE;
  execs.insert(*place = new GraphExec{graph->context, graph->nodes});
  return SUCCESS;
}

EXPORT int cuGraphDestroy(Graph *graph) {
  ENTER_CONTEXT
  if (!graphs.erase(graph)) return INVALID_VALUE;
  delete graph;
  return SUCCESS;
}

EXPORT int cuGraphExecDestroy(GraphExec *exec) {
  ENTER_CONTEXT
  if (!execs.erase(exec)) return INVALID_VALUE;
  delete exec;
  return SUCCESS;
}

EXPORT int cuGraphLaunch(GraphExec *exec, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!execs.count(exec)) return INVALID_VALUE;
  if (stream && stream->capture) return CAPTURE_UNSUPPORTED;
  for (auto &node : exec->nodes) {
    if (int code = node()) {
      current_context->error = code;
      break;
    }
    if (current_context->error) break;
  }
  if (stream) stream->busy = true;
  return SUCCESS;
}

/* ---------------------------------------------------------------- modules */
EXPORT int cuModuleLoadData(Module **place, const char *data) {
  ENTER_CONTEXT
  FORBIDDEN_IN_CAPTURE
  if (!data) return INVALID_VALUE;
  if (strncmp(data, fake_mark.c_str(), fake_mark.size())) return INVALID_IMAGE;
  std::string image = data, architecture = fake_architecture(image), library, log;
  bool ptx = architecture.rfind("compute_", 0) == 0;
  int made_for = atoi(architecture.c_str() + (ptx ? 8 : 3));
  if (ptx ? made_for > capability() : made_for != capability()) return NO_BINARY_FOR_GPU;
  if (!fake_compile(image, library, log)) return ptx ? INVALID_PTX : INVALID_IMAGE;
  void *handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return INVALID_IMAGE;
  auto open = (FakeModule(*)(FakeRuntime *))dlsym(handle, "fake_module");
  *place = new Module{current_context, open(&fibers::runtime), {}};
  modules.insert(*place);
  return SUCCESS;
}

EXPORT int cuModuleUnload(Module *module) {
  ENTER_CONTEXT
  if (!modules.count(module)) return INVALID_HANDLE;
  unload(module);
  return SUCCESS;
}

EXPORT int cuModuleGetFunction(Function **place, Module *module, const char *name) {
  ENTER_CONTEXT
  if (!modules.count(module)) return INVALID_HANDLE;
  for (int i = 0; i < module->code.count; i++) {
    const FakeKernel &kernel = module->code.kernels[i];
    if (strcmp(kernel.name, name)) continue;
    Function *&function = module->functions[name];
    if (!function) functions.insert(function = new Function{&kernel, module, STATIC_SHARED});
    return *place = function, SUCCESS;
  }
  return NOT_FOUND;
}

EXPORT int cuFuncGetParamInfo(Function *function, size_t index, size_t *offset, size_t *size) {
  ENTER_CONTEXT
  if (!functions.count(function)) return INVALID_HANDLE;
  if (index >= (size_t)function->kernel->parameters) return INVALID_VALUE;
  *offset = 0;
  for (size_t i = 0; i <= index; i++) {
    *size = function->kernel->sizes[i];
    *offset = (*offset + *size - 1) / *size * *size;
    if (i < index) *offset += *size;
  }
  return SUCCESS;
}

EXPORT int cuFuncSetAttribute(Function *function, int attribute, int value) {
  ENTER_CONTEXT
  if (!functions.count(function)) return INVALID_HANDLE;
  if (attribute != 8 || value < 0 || (size_t)value > MOST_SHARED) return INVALID_VALUE;
  function->most_shared = (size_t)value;
  return SUCCESS;
}

/* ---------------------------------------------------------------- tensor maps */
static int element_bytes(int type) {
  static const int bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  return type < 0 || type > 12 ? 0 : bytes[type];
}

/* The checks shared by both kinds of map; fills in the tensor. */
static int describe_tensor(void *place, fibers::TensorMap &map, int type, unsigned rank, uintptr_t address, const uint64_t *extents,
                           const uint64_t *pitches, const unsigned *steps, int interleave, int swizzle, int promotion, int fill) {
  int element = element_bytes(type);
  if (!place || (uintptr_t)place % 64 || !element || !address || address % 16 || !extents || !pitches || !steps) return INVALID_VALUE;
  if (interleave < 0 || interleave > 2 || swizzle < 0 || swizzle > 3 || promotion < 0 || promotion > 3 || fill < 0 || fill > 1) return INVALID_VALUE;
  if (interleave || fill) return NOT_SUPPORTED; /* not emulated */
  for (unsigned i = 0; i < rank; i++) {
    if (!extents[i] || extents[i] > 1ull << 32 || !steps[i] || steps[i] > 8) return INVALID_VALUE;
    if (steps[i] != 1 || extents[i] > 1ull << 31) return NOT_SUPPORTED;
    if (i < 4) map.extents[i] = (uint32_t)extents[i];
    if (i + 1 == rank) break;
    if (!pitches[i] || pitches[i] % 16 || pitches[i] >= 1ull << 40) return INVALID_VALUE;
    if (pitches[i] < (i ? pitches[i - 1] : (uint64_t)element) * extents[i]) return INVALID_VALUE;
    if (i < 3) map.pitches[i] = pitches[i];
  }
  map.mark = fibers::MAP_MARK;
  map.elements = (const char *)address;
  map.rank = (uint8_t)rank;
  map.element = (uint8_t)element;
  map.swizzle = (uint8_t)swizzle;
  return SUCCESS;
}

/* Whether the inner axis of a box is a multiple of 16 bytes and no longer than the swizzle's pattern. */
static bool fits_swizzle(size_t bytes, int swizzle) { return bytes % 16 == 0 && (!swizzle || bytes <= 16u << swizzle); }

EXPORT int cuTensorMapEncodeTiled(void *place, int type, unsigned rank, uintptr_t address, const uint64_t *extents, const uint64_t *pitches,
                                  const unsigned *box, const unsigned *steps, int interleave, int swizzle, int promotion, int fill) {
  ENTER
  fibers::TensorMap map = {};
  if (rank < 1 || rank > 5 || !box) return INVALID_VALUE;
  if (int code = describe_tensor(place, map, type, rank, address, extents, pitches, steps, interleave, swizzle, promotion, fill)) return code;
  for (unsigned i = 0; i < rank; i++)
    if (!box[i] || box[i] > 256) return INVALID_VALUE;
  if (!fits_swizzle((size_t)box[0] * map.element, swizzle)) return INVALID_VALUE;
  if (rank != 2) return NOT_SUPPORTED; /* not emulated */
  for (int i = 0; i < 2; i++) map.box[i] = (uint16_t)box[i];
  memcpy(place, &map, sizeof map);
  return SUCCESS;
}

EXPORT int cuTensorMapEncodeIm2col(void *place, int type, unsigned rank, uintptr_t address, const uint64_t *extents, const uint64_t *pitches,
                                   const int *lower, const int *upper, unsigned channels, unsigned pixels, const unsigned *steps, int interleave,
                                   int swizzle, int promotion, int fill) {
  ENTER
  fibers::TensorMap map = {};
  if (rank < 3 || rank > 5 || !lower || !upper) return INVALID_VALUE;
  if (int code = describe_tensor(place, map, type, rank, address, extents, pitches, steps, interleave, swizzle, promotion, fill)) return code;
  int least = rank == 3 ? -32768 : rank == 4 ? -128 : -16;
  for (unsigned i = 0; i + 2 < rank; i++)
    if (lower[i] < least || lower[i] >= -least || upper[i] < least || upper[i] >= -least) return INVALID_VALUE;
  if (!channels || channels > 256 || !pixels || pixels > 1024) return INVALID_VALUE;
  if (!fits_swizzle((size_t)channels * map.element, swizzle)) return INVALID_VALUE;
  if (rank != 4) return NOT_SUPPORTED; /* not emulated */
  map.patches = 1;
  map.box[0] = (uint16_t)channels;
  map.box[1] = (uint16_t)pixels;
  for (int i = 0; i < 2; i++) map.lower[i] = (int16_t)lower[i], map.upper[i] = (int16_t)upper[i];
  memcpy(place, &map, sizeof map);
  return SUCCESS;
}

/* ---------------------------------------------------------------- launches */
static sigjmp_buf landing;
static pthread_t launching;
static volatile bool in_kernel;
static struct sigaction before_segv, before_bus;

static void on_fault(int signal, siginfo_t *info, void *context) {
  if (in_kernel && pthread_equal(pthread_self(), launching)) siglongjmp(landing, 1);
  struct sigaction &before = signal == SIGSEGV ? before_segv : before_bus;
  if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(signal, info, context);
  else sigaction(signal, &before, nullptr);
}

static void run_grid(const FakeModule &code, char *dynamic, size_t dynamic_bytes) {
  FakeRuntime &r = fibers::runtime;
  fibers::Schedule order = schedule();
  uint64_t count = (uint64_t)r.grid.x * r.grid.y * r.grid.z;
  for (uint64_t n = 0; n < count && fibers::fault.empty(); n++) {
    uint64_t b = order == fibers::BACKWARD ? count - 1 - n : n;
    r.block = {(unsigned)(b % r.grid.x), (unsigned)(b / r.grid.x % r.grid.y), (unsigned)(b / r.grid.x / r.grid.y)};
    if (code.shared_begin) memset(code.shared_begin, FRESH, (size_t)(code.shared_end - code.shared_begin));
    memset(dynamic, FRESH, dynamic_bytes);
    fibers::run_block(order, code.cooperative);
  }
}

struct Extents { unsigned gx, gy, gz, bx, by, bz, shared; };

static int run_kernel(Function *function, const Extents &e, void **parameters);

/* An invalid launch fails immediately; a valid one runs or is recorded. */
static int launch(Function *function, const Extents &e, Stream *stream, void **parameters, void **extra) {
  auto [gx, gy, gz, bx, by, bz, shared] = e;
  if (!functions.count(function)) return INVALID_HANDLE;
  if (function->module->context != current_context) return INVALID_CONTEXT;
  if (!gx || !gy || !gz || gx > 0x7FFFFFFFu || gy > 65535 || gz > 65535) return INVALID_VALUE;
  if (!bx || !by || !bz || bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > 1024) return INVALID_VALUE;
  if (shared > function->most_shared || extra) return INVALID_VALUE;
  const FakeKernel &kernel = *function->kernel;
  if (kernel.parameters && !parameters) return INVALID_VALUE;
  for (int i = 0; i < kernel.parameters; i++)
    if (!parameters[i]) return INVALID_VALUE;
  if (stream && !stream->capture) stream->busy = true;
  /* The arguments have their values at the time of the call. */
  std::vector<std::string> values;
  for (int i = 0; i < kernel.parameters; i++) values.emplace_back((char *)parameters[i], kernel.sizes[i]);
  return enqueue(stream, [=]() mutable {
    if (!functions.count(function)) return (int)INVALID_HANDLE;
    std::vector<void *> places;
    for (std::string &value : values) places.push_back(value.data());
    return run_kernel(function, e, places.data());
  });
}

EXPORT int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, Stream *stream, void **parameters, void **extra) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  return launch(function, {gx, gy, gz, bx, by, bz, shared}, stream, parameters, extra);
}

struct LaunchConfig { Extents extents; Stream *stream; void *attributes; unsigned count; };
static_assert(sizeof(LaunchConfig) == 56, "CUlaunchConfig");

EXPORT int cuLaunchKernelEx(const LaunchConfig *config, Function *function, void **parameters, void **extra) {
  ENTER_CONTEXT
  if (!config) return INVALID_VALUE;
  CHECK_STREAM(config->stream)
  if (config->count) return NOT_SUPPORTED; /* launch attributes are not emulated */
  return launch(function, config->extents, config->stream, parameters, extra);
}

static int run_kernel(Function *function, const Extents &e, void **parameters) {
  auto [gx, gy, gz, bx, by, bz, shared] = e;
  const FakeKernel &kernel = *function->kernel;
  static char dynamic_memory[MOST_SHARED + 2 * fibers::WINDOW];
  FakeRuntime &r = fibers::runtime;
  /* Dynamic memory follows static memory, so it is aligned to 128 bytes and no more. */
  r.dynamic = (char *)(((uintptr_t)dynamic_memory + fibers::WINDOW - 1) / fibers::WINDOW * fibers::WINDOW) + 128;
  r.block_size = {bx, by, bz};
  r.grid = {gx, gy, gz};
  fibers::connect(function->module->code.shared_begin, function->module->code.shared_end, shared, capability());
  fibers::threads = (int)(bx * by * bz);
  fibers::body = kernel.call;
  fibers::parameters = parameters;
  fibers::fault.clear();

  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGSEGV, &action, &before_segv);
  sigaction(SIGBUS, &action, &before_bus);
  launching = pthread_self();
  volatile int code = SUCCESS; /* survives the jump */
  if (sigsetjmp(landing, 1) == 0) {
    in_kernel = true;
    run_grid(function->module->code, r.dynamic, shared);
    if (!fibers::fault.empty()) code = LAUNCH_FAILED;
  } else {
    code = ILLEGAL_ADDRESS;
    fibers::fault = "access outside of all allocations, " + fibers::place();
  }
  in_kernel = false;
  sigaction(SIGSEGV, &before_segv, nullptr);
  sigaction(SIGBUS, &before_bus, nullptr);
  if (code == SUCCESS) {
    std::string where = damage();
    if (!where.empty()) {
      code = ILLEGAL_ADDRESS;
      fibers::fault = "a write " + where;
    }
  }
  if (code) fprintf(stderr, "fakecuda: %s: %s\n", kernel.name, fibers::fault.c_str());
  /* The next call reports a failed kernel, and the context stays unusable. */
  current_context->error = code;
  return SUCCESS;
}
