// The additions of sm_90a, by the PTX manual: barriers in shared memory that count bytes (mbarrier), copies by tensor
// maps (TMA), matrix instructions of warpgroups (wgmma). Part of fibers.h. Asynchronous work runs at once
// (FAKECUDA_COPIES=eager) or as late as possible (deferred).
#pragma once
#include "sums.h"
#include <map>

namespace fibers {

constexpr size_t WINDOW = 1024; /* addresses of shared memory are relative to a multiple of it, the size of the swizzle pattern */

/* Records a fault of asynchronous work, which does not belong to a thread. */
inline void blame(const std::string &text) {
  if (fault.empty()) fault = text + ", " + place();
}

/* ---------------------------------------------------------------- mbarrier */
constexpr int MOST_ARRIVALS = (1 << 20) - 1;

/* The layout in shared memory. The phase ends when nothing is pending and no bytes are expected. */
struct Barrier {
  uint64_t parity : 1, arrivals : 20, pending : 20;
  int64_t bytes : 23;
};
static_assert(sizeof(Barrier) == 8, "mbarrier");

/* The barriers of the block, and whether each has been announced to the copy engine. */
inline std::map<const void *, bool> barriers;

inline Barrier &barrier_of(const void *address) {
  check_shared(address, 8);
  if (!barriers.count(address)) fail("an mbarrier that was not initialised");
  return *(Barrier *)address;
}

inline void end_phase(Barrier &b) {
  if (b.pending || b.bytes) return;
  b.parity ^= 1;
  b.pending = b.arrivals;
}

inline void barrier_init(void *address, unsigned arrivals) {
  check_shared(address, 8);
  if (!arrivals || arrivals > MOST_ARRIVALS) fail("an mbarrier for " + std::to_string(arrivals) + " arrivals");
  if (barriers.count(address)) fail("an mbarrier initialised twice");
  barriers[address] = false;
  Barrier b = {0, arrivals, arrivals, 0};
  memcpy(address, &b, sizeof b);
}

inline void barriers_announce() {
  for (auto &[address, announced] : barriers) announced = true;
}

/* Expects `bytes` more bytes in this phase, and arrives once. */
inline void barrier_arrive(void *address, unsigned bytes) {
  Barrier &b = barrier_of(address);
  if (b.bytes + (int64_t)bytes > MOST_ARRIVALS) fail("more bytes than an mbarrier counts");
  if (!b.pending) fail("more arrivals at an mbarrier than it is for");
  b.bytes += bytes;
  b.pending--;
  end_phase(b);
}

/* Whether the phase of that parity has ended. */
inline bool phase_ended(const void *address, unsigned parity) { return ((const Barrier *)address)->parity != parity; }

inline void barrier_wait(const void *address, unsigned parity) {
  barrier_of(address);
  if (parity > 1) fail("a parity that is neither 0 nor 1");
  if (phase_ended(address, parity)) return;
  fiber[current].barrier = address;
  fiber[current].parity = parity;
  wait(AT_PHASE);
}

/* ---------------------------------------------------------------- tensor maps
 * The fake driver's layout of the 128 bytes; the real one is opaque.
 */
constexpr uint64_t MAP_MARK = 0x70616D65736E6574;
enum Swizzle { SWIZZLE_NONE = 0, SWIZZLE_32 = 1, SWIZZLE_64 = 2, SWIZZLE_128 = 3 };

struct TensorMap {
  uint64_t mark;
  const char *elements;
  uint32_t extents[4];
  uint64_t pitches[3]; /* bytes between neighbours along axes 1, 2, 3 */
  uint16_t box[2];     /* columns and rows, or channels and pixels */
  int16_t lower[2], upper[2];
  uint8_t rank, element, swizzle, patches;
};
static_assert(sizeof(TensorMap) <= 128, "CUtensorMap");

struct Transfer {
  TensorMap map;
  char *target;
  void *barrier;
  int at[4];
  int taps[2];
};

inline std::vector<Transfer> transfers; /* the pending copies of the block */

/* Writes a row of the box: `there` of its bytes from `source`, then zeros. Swizzling permutes pieces of 16 bytes within 128
 * bytes by the next three bits of their address. */
inline void put_row(const TensorMap &map, char *target, const char *source, long there) {
  long width = (long)map.box[0] * map.element;
  if (there < 0) there = 0;
  for (long at = 0; at < width; at += 16) {
    char piece[16] = {};
    long count = there - at < 16 ? there - at : 16;
    if (count > 0) memcpy(piece, source + at, (size_t)count);
    uintptr_t to = (uintptr_t)target + (uintptr_t)at;
    if (map.swizzle == SWIZZLE_128) to ^= (to >> 7 & 7) << 4;
    memcpy((void *)to, piece, 16);
  }
}

inline void complete_transfer(const Transfer &t) {
  const TensorMap &m = t.map;
  long width = (long)m.box[0] * m.element;
  auto row = [&](int number, bool within, uint64_t offset) {
    long left = ((long)m.extents[0] - t.at[0]) * m.element;
    bool some = within && t.at[0] >= 0 && left > 0;
    put_row(m, t.target + number * width, some ? m.elements + offset + (uint64_t)t.at[0] * m.element : nullptr, some ? left < width ? left : width : 0);
  };
  if (!m.patches) {
    for (int j = 0; j < m.box[1]; j++) {
      long y = (long)t.at[1] + j;
      row(j, y >= 0 && y < (long)m.extents[1], (uint64_t)y * m.pitches[0]);
    }
  } else {
    /* Pixels run over the box between the two corners, row by row and image by image, each shifted by the tap. */
    int x = t.at[1], y = t.at[2], n = t.at[3], w = (int)m.extents[1], h = (int)m.extents[2];
    for (int j = 0; j < m.box[1]; j++) {
      int column = x + t.taps[0], line = y + t.taps[1];
      bool within = column >= 0 && column < w && line >= 0 && line < h && n >= 0 && n < (int)m.extents[3];
      row(j, within, (uint64_t)column * m.pitches[0] + (uint64_t)line * m.pitches[1] + (uint64_t)n * m.pitches[2]);
      if (++x > w - 1 + m.upper[0]) {
        x = m.lower[0];
        if (++y > h - 1 + m.upper[1]) y = m.lower[1], n++;
      }
    }
  }
  Barrier &b = *(Barrier *)t.barrier;
  b.bytes -= width * m.box[1];
  if (b.bytes < -MOST_ARRIVALS) blame("more bytes than an mbarrier counts");
  end_phase(b);
}

/* cp.async.bulk.tensor into shared memory: a box of rank 2, or patches of rank 4 with `taps`. */
inline void load_tensor(void *shared, const void *map, void *barrier, const int *at, const int *taps) {
  Transfer t = {};
  memcpy(&t.map, map, sizeof t.map);
  const TensorMap &m = t.map;
  if (m.mark != MAP_MARK) fail("a tensor map that no driver made");
  if (m.patches != (taps != nullptr) || m.rank != (taps ? 4 : 2)) fail("a copy whose tensor map is of another mode or rank");
  if (m.swizzle != SWIZZLE_NONE && m.swizzle != SWIZZLE_128) fail("a swizzle that is not emulated");
  uintptr_t alignment = m.swizzle == SWIZZLE_128 ? WINDOW : 128;
  if ((uintptr_t)shared % alignment) fail("a tensor's piece in shared memory not aligned to " + std::to_string(alignment) + " bytes");
  char *from = (char *)shared, *to = from + (size_t)m.box[0] * m.box[1] * m.element;
  if (from < runtime.dynamic || to > runtime.dynamic + dynamic_bytes) fail("a tensor's piece outside of shared memory");
  barrier_of(barrier);
  if (!barriers[barrier]) fail("an mbarrier that the copy engine was not told of");
  for (int i = 0; taps && i < 2; i++)
    if (taps[i] < 0 || taps[i] > 255) fail("a tap outside of [0, 255]");
  t.target = from;
  t.barrier = barrier;
  memcpy(t.at, at, sizeof(int) * m.rank);
  if (taps) memcpy(t.taps, taps, sizeof t.taps);
  if (deferred()) transfers.push_back(t);
  else complete_transfer(t);
}

/* ---------------------------------------------------------------- products of warpgroups
 * The sums of a pending product are held here, and the threads' registers are NaN until they have waited for it.
 */
constexpr int WARPGROUP = 128, PRODUCT_ROWS = 64, PRODUCT_TERMS = 16;

struct Product {
  FakeProduct what;
  float *sum; /* the sums of the first thread, which identify them */
  int group;
  bool done;
};

struct Sums {
  float *of[WARPGROUP];
  int columns;
  std::vector<float> values; /* [64][columns] */
};

struct Warpgroup {
  int arrived;
  FakeWarpgroup operation;
  FakeProduct what;
  float *sums[WARPGROUP];
  std::vector<Product> products;
  std::vector<Sums> held;
  int group; /* the group that products join */
  bool fenced;
};

inline Warpgroup warpgroups[MOST_THREADS / WARPGROUP];

/* The element of an operand in shared memory by its descriptor, whose addresses are relative to the window. */
inline float operand(uint64_t descriptor, bool transposed, int row, int term) {
  uint32_t start = (uint32_t)(descriptor & 0x3FFF) << 4, leading = (uint32_t)(descriptor >> 16 & 0x3FFF) << 4,
           stride = (uint32_t)(descriptor >> 32 & 0x3FFF) << 4;
  /* The groups of 8 rows of 128 bytes run along the terms, or along the rows of the matrix. */
  uint32_t at = transposed ? start + (uint32_t)(row / 64) * leading + (uint32_t)(term / 8) * stride + (uint32_t)(term % 8) * 128 + (uint32_t)(row % 64) * 2
                           : start + (uint32_t)(row / 8) * stride + (uint32_t)(row % 8) * 128 + (uint32_t)term * 2;
  at ^= (at >> 7 & 7) << 4;
  char *window = (char *)((uintptr_t)runtime.dynamic / WINDOW * WINDOW), *from = window + at;
  if (from < runtime.dynamic || from + 2 > runtime.dynamic + dynamic_bytes) return blame("an operand outside of shared memory"), 0;
  uint32_t bits = (uint32_t)*(uint16_t *)from << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

typedef float Lanes __attribute__((vector_size(32), aligned(4)));

inline Sums *sums_of(Warpgroup &w, float *first) {
  for (Sums &one : w.held)
    if (one.of[0] == first) return &one;
  return nullptr;
}

/* sum [64, columns] = a [64, 16] b [16, columns] of bf16, or added to it */
inline void multiply(Warpgroup &w, Product &product) {
  const FakeProduct &p = product.what;
  static float a[PRODUCT_ROWS][PRODUCT_TERMS], b[PRODUCT_TERMS][256];
  for (int k = 0; k < PRODUCT_TERMS; k++) {
    for (int r = 0; r < PRODUCT_ROWS; r++) a[r][k] = operand(p.a, p.a_transposed, r, k);
    for (int c = 0; c < p.columns; c++) b[k][c] = operand(p.b, p.b_transposed, c, k);
  }
  Sums &sums = *sums_of(w, product.sum);
  for (int r = 0; r < PRODUCT_ROWS; r++)
    for (int c = 0; c < p.columns; c += 8) {
      Lanes sum = {};
      if (p.add) sum = *(Lanes *)&sums.values[(size_t)(r * p.columns + c)];
      if (runtime.sums_bf16.terms)
        for (int i = 0; i < 8; i++) sum[i] = fake_add_truncated(runtime.sums_bf16, sum[i], a[r], &b[0][c + i], 256, PRODUCT_TERMS);
      else
        for (int k = 0; k < PRODUCT_TERMS; k++) sum += a[r][k] * *(Lanes *)&b[k][c];
      *(Lanes *)&sums.values[(size_t)(r * p.columns + c)] = sum;
    }
  product.done = true;
}

/* Calls f(thread, register, row, column) for each sum that a register holds. */
template <class F> inline void each_sum(int columns, F f) {
  for (int t = 0; t < WARPGROUP; t++)
    for (int i = 0; i < columns / 2; i++) f(t, i, (t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8) * columns + i / 4 * 8 + t % 4 * 2 + i % 2);
}

inline void begin_product(Warpgroup &w) {
  const FakeProduct &p = w.what;
  for (uint64_t descriptor : {p.a, p.b})
    if (descriptor >> 62 != 1 || descriptor >> 49 & 7) return blame("an operand whose layout is not emulated");
  float *first = w.sums[0];
  if (!sums_of(w, first)) {
    if (!w.fenced) return blame("a product whose sums were touched since the last fence");
    w.held.push_back({{}, p.columns, std::vector<float>((size_t)(PRODUCT_ROWS * p.columns))});
    Sums &sums = w.held.back();
    memcpy(sums.of, w.sums, sizeof sums.of);
    each_sum(p.columns, [&](int t, int i, int at) {
      sums.values[(size_t)at] = sums.of[t][i];
      memset(&sums.of[t][i], 0xFF, sizeof(float));
    });
  }
  if (sums_of(w, first)->columns != p.columns) return blame("sums of another width");
  w.products.push_back({p, first, w.group, false});
  if (!deferred()) multiply(w, w.products.back());
}

/* Finishes all groups but the youngest, and returns sums without a pending product to the threads. */
inline void wait_products(Warpgroup &w, int youngest) {
  std::vector<Product> left;
  for (Product &product : w.products) {
    bool over = product.group < w.group - youngest;
    if (over && !product.done) multiply(w, product);
    if (!over) left.push_back(product);
  }
  w.products = left;
  std::vector<Sums> held;
  for (Sums &sums : w.held) {
    bool busy = false;
    for (const Product &product : left) busy |= product.sum == sums.of[0];
    if (busy) held.push_back(std::move(sums));
    else {
      each_sum(sums.columns, [&](int t, int i, int at) { sums.of[t][i] = sums.values[(size_t)at]; });
      w.fenced = false;
    }
  }
  w.held = std::move(held);
}

/* The last thread to arrive runs it for all. */
inline void warpgroup_call(FakeWarpgroup operation, float *sum, FakeProduct what) {
  int first = current / WARPGROUP * WARPGROUP;
  Warpgroup &w = warpgroups[first / WARPGROUP];
  if (threads - first < WARPGROUP) fail("an instruction of a warpgroup that is not whole");
  if (w.arrived && (w.operation != operation || memcmp(&w.what, &what, sizeof what))) fail("threads of a warpgroup at different instructions");
  w.operation = operation;
  w.what = what;
  w.sums[current - first] = sum;
  if (++w.arrived < WARPGROUP) return wait(AT_WARP);
  w.arrived = 0;
  switch (operation) {
    case FAKE_FENCE: w.fenced = true; break;
    case FAKE_MULTIPLY: begin_product(w); break;
    case FAKE_COMMIT: w.group++; break;
    case FAKE_WAIT: wait_products(w, what.columns); break;
    case FAKE_REGISTERS:
      if (what.columns % 8 || what.columns < 24 || what.columns > 256) blame("a number of registers that setmaxnreg does not take");
      break;
  }
  for (int i = 0; i < WARPGROUP; i++)
    if (first + i != current) fiber[first + i].state = READY;
}

/* ---------------------------------------------------------------- a block from begin to end */
inline void begin_async() {
  barriers.clear();
  transfers.clear();
  for (Warpgroup &w : warpgroups) w.arrived = w.group = 0, w.fenced = false, w.products.clear(), w.held.clear();
}

/* Called when all threads wait: finishes the most recent copy. Returns whether there was one. */
inline bool finish_transfer() {
  if (transfers.empty()) return false;
  Transfer last = transfers.back();
  transfers.pop_back();
  complete_transfer(last);
  return true;
}

inline void end_async() {
  if (!transfers.empty()) blame("a block ends with copies that it has not waited for");
  for (auto &[address, announced] : barriers)
    if (((const Barrier *)address)->bytes) blame("a block ends with an mbarrier that expects " + std::to_string((long)((const Barrier *)address)->bytes) + " bytes");
  for (const Warpgroup &w : warpgroups)
    if (!w.held.empty()) blame("a block ends with products that it has not waited for");
}

}  // namespace fibers
