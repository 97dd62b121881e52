// A stand-in for libcuda: device memory is host memory between guard pages, a launch runs blocks one after another on
// fibers, and what the real driver refuses is refused with its code. Images are those of nvrtc.cpp alone.
//
//   FAKECUDA_SCHEDULE  round (default), forward, backward
//   FAKECUDA_COPIES    eager (default), deferred: when an asynchronous copy is done
//   FAKECUDA_CARDS     how many cards there are: 2
//   FAKECUDA_ARCH      their compute capability: 90
//   FAKECUDA_MEMORY    bytes of each: 4 GiB
#include "fibers.h"
#include "image.h"
#include <csetjmp>
#include <csignal>
#include <dlfcn.h>
#include <map>
#include <mutex>
#include <pthread.h>
#include <set>

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
  NOT_FOUND = 500,
  NOT_READY = 600,
  ILLEGAL_ADDRESS = 700,
  CONTEXT_IS_DESTROYED = 709,
  LAUNCH_FAILED = 719,
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
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
};

constexpr size_t ADDRESSES = 1ull << 40, GUARD = 64 << 10;
constexpr size_t PAGE = 4096, ALIGNMENT = 256, STATIC_SHARED = 48 << 10, MOST_SHARED = 227 << 10;
constexpr unsigned char SLACK = 0xFB, FRESH = 0xFF; /* fresh memory is NaN */

struct Context {
  int device, users, error;
};
struct Allocation {
  size_t bytes;
  char *pages; /* which hold it, and nothing else */
  size_t pages_bytes;
  Context *context;
};
struct Stream { Context *context; bool busy; };
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
static thread_local Context *current_context;

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

/* Every call begins so: one thread at a time, on a driver that was started, in a context that is alive. */
#define ENTER                                          \
  std::lock_guard<std::mutex> guard(lock);             \
  if (!initialised) return NOT_INITIALIZED;
#define ENTER_CONTEXT                                  \
  ENTER                                                \
  if (!current_context) return INVALID_CONTEXT;        \
  if (!current_context->users) return CONTEXT_IS_DESTROYED; \
  if (current_context->error) return current_context->error;

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

/* Pages of the cards' address space, never used before: what was freed stays out of reach for good. */
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
  if (bytes == 0) return INVALID_VALUE;
  size_t used = 0;
  for (auto &[address, one] : allocations)
    if (one.context == current_context) used += one.bytes;
  if (used + bytes > card_memory()) return OUT_OF_MEMORY;
  /* The end of the memory lies at a guard page, but for what alignment leaves over. */
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

/* The first byte beside an allocation that was written to, as text; empty: none. */
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

EXPORT int cuMemcpyHtoDAsync_v2(uintptr_t target, const void *source, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(target, bytes) || !source) return INVALID_VALUE;
  memcpy((void *)target, source, bytes);
  return SUCCESS;
}

EXPORT int cuMemcpyDtoHAsync_v2(void *target, uintptr_t source, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(source, bytes) || !target) return INVALID_VALUE;
  memcpy(target, (const void *)source, bytes);
  return SUCCESS;
}

EXPORT int cuMemcpyDtoDAsync_v2(uintptr_t target, uintptr_t source, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(target, bytes) || !inside(source, bytes)) return INVALID_VALUE;
  /* The real result of an overlap is anything at all. */
  if (target < source + bytes && source < target + bytes) return INVALID_VALUE;
  memcpy((void *)target, (const void *)source, bytes);
  return SUCCESS;
}

EXPORT int cuMemsetD8Async(uintptr_t target, unsigned value, size_t bytes, Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!inside(target, bytes) || value > 255) return INVALID_VALUE;
  memset((void *)target, (int)value, bytes);
  return SUCCESS;
}

/* ---------------------------------------------------------------- streams */
EXPORT int cuStreamCreate(Stream **place, unsigned flags) {
  ENTER_CONTEXT
  if (flags > 1) return INVALID_VALUE;
  *place = new Stream{current_context, false};
  streams.insert(*place);
  return SUCCESS;
}

EXPORT int cuStreamDestroy_v2(Stream *stream) {
  ENTER_CONTEXT
  if (!stream || check_stream(stream)) return INVALID_HANDLE;
  streams.erase(stream);
  delete stream;
  return SUCCESS;
}

EXPORT int cuStreamSynchronize(Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (stream) stream->busy = false;
  return SUCCESS;
}

/* The first question after a launch is answered "not yet". */
EXPORT int cuStreamQuery(Stream *stream) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!stream || !stream->busy) return SUCCESS;
  stream->busy = false;
  return NOT_READY;
}

/* ---------------------------------------------------------------- modules */
EXPORT int cuModuleLoadData(Module **place, const char *data) {
  ENTER_CONTEXT
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

EXPORT int cuLaunchKernel(Function *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, Stream *stream, void **parameters, void **extra) {
  ENTER_CONTEXT
  CHECK_STREAM(stream)
  if (!functions.count(function)) return INVALID_HANDLE;
  if (function->module->context != current_context) return INVALID_CONTEXT;
  if (!gx || !gy || !gz || gx > 0x7FFFFFFFu || gy > 65535 || gz > 65535) return INVALID_VALUE;
  if (!bx || !by || !bz || bx > 1024 || by > 1024 || bz > 64 || bx * by * bz > 1024) return INVALID_VALUE;
  if (shared > function->most_shared || extra) return INVALID_VALUE;
  const FakeKernel &kernel = *function->kernel;
  if (kernel.parameters && !parameters) return INVALID_VALUE;
  for (int i = 0; i < kernel.parameters; i++)
    if (!parameters[i]) return INVALID_VALUE;

  static char dynamic_memory[MOST_SHARED + 1024];
  FakeRuntime &r = fibers::runtime;
  r.dynamic = (char *)(((uintptr_t)dynamic_memory + 1023) & ~(uintptr_t)1023);
  r.block_size = {bx, by, bz};
  r.grid = {gx, gy, gz};
  fibers::connect(function->module->code.shared_begin, function->module->code.shared_end, shared);
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
  volatile int code = SUCCESS; /* lives through the jump */
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
  if (stream) stream->busy = true;
  /* A failed kernel is reported by whatever is called next, and spoils its context. */
  current_context->error = code;
  return SUCCESS;
}
