/* Functions that need inline PTX of sm_90a: barriers that count bytes (mbarrier), copies by tensor maps (TMA), and products of a
 * warpgroup (wgmma) with operands in shared memory. A warpgroup is four warps, the first of which has an index divisible by four.
 */
#ifndef RECTIFLOW_PTX_HOPPER_CUH
#define RECTIFLOW_PTX_HOPPER_CUH

/* A CUtensorMap, created by the driver: a tensor in global memory, and the box of it that one copy transfers. */
struct alignas(64) tensor_map {
  unsigned long long opaque[16];
};

/* An argument of N maps passed by value, like `words` in common.cuh. */
template <int N> struct tensor_maps {
  tensor_map of[N];
};

/* ---------------------------------------------------------------- barriers in shared memory (mbarrier)
 * A phase ends after a given number of arrivals, once all expected bytes have been transferred; then the next begins. Phases have
 * the parities 0, 1, 0, ...
 */
typedef unsigned long long barrier;

static __device__ __forceinline__ unsigned shared_address(const void *shared) { return (unsigned)__cvta_generic_to_shared(shared); }

static __device__ __forceinline__ void barrier_init(barrier *at, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(at)), "r"(arrivals) : "memory");
}

/* Call it after the last barrier_init of a thread: it makes them visible to the copy engine; other threads need __syncthreads. */
static __device__ __forceinline__ void barriers_announce() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

static __device__ __forceinline__ void barrier_arrive(barrier *at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(at)) : "memory");
}

/* Arrives, and makes the phase wait for `bytes` more bytes. */
static __device__ __forceinline__ void barrier_expect(barrier *at, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(at)), "r"(bytes) : "memory");
}

/* Waits for the end of the phase with that parity, which is the current or the previous one. */
static __device__ __forceinline__ void barrier_wait(barrier *at, unsigned parity) {
  unsigned ended;
  do asm volatile("{ .reg .pred ended; mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2; selp.u32 %0, 1, 0, ended; }"
                  : "=r"(ended)
                  : "r"(shared_address(at)), "r"(parity)
                  : "memory");
  while (!ended);
}

/* ---------------------------------------------------------------- copies of a box into shared memory, by one thread
 * Elements outside the tensor are zeros. The bytes are counted by the barrier.
 */

/* Prefetches the map itself before its first use. */
static __device__ __forceinline__ void map_prefetch(const tensor_map &map) { asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory"); }

/* Loads rows from y on and columns from x on of a matrix. */
static __device__ __forceinline__ void load_box(void *shared, const tensor_map &map, barrier *counts, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
                   shared_address(shared)),
               "l"(&map), "r"(shared_address(counts)), "r"(x), "r"(y)
               : "memory");
}

/* Loads from [N, H, W, C], channels from `channel` on: for the patches that begin at pixel (n, y, x) and after it, the pixel at
 * that tap. */
static __device__ __forceinline__ void load_patches(void *shared, const tensor_map &map, barrier *counts, int channel, int x, int y, int n,
                                                    int tap_x, int tap_y) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(
          shared_address(shared)),
      "l"(&map), "r"(shared_address(counts)), "r"(channel), "r"(x), "r"(y), "r"(n), "h"((unsigned short)tap_x), "h"((unsigned short)tap_y)
      : "memory");
}

/* ---------------------------------------------------------------- matrices
 * Stores four 8x8 matrices of 16-bit elements, the reverse of load_matrices (ptx.cuh). The whole warp must call it.
 */
static __device__ __forceinline__ void store_matrices(void *row, const unsigned (&in)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)), "r"(in[0]), "r"(in[1]),
               "r"(in[2]), "r"(in[3])
               : "memory");
}

/* ---------------------------------------------------------------- registers of a warpgroup */
template <int REGISTERS> static __device__ __forceinline__ void registers_give() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS)); }
template <int REGISTERS> static __device__ __forceinline__ void registers_take() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS)); }

/* ---------------------------------------------------------------- products of a warpgroup
 * sum [64, N] += a [64, 16] b [N, 16] transposed, in bf16. Products start in order and run asynchronously; sums must not be
 * touched before products_wait. In thread t of the warpgroup, with g = t / 4 % 8, register i holds row
 * t / 32 * 16 + g + i / 2 % 2 * 8 and column i / 4 * 8 + t % 4 * 2 + i % 2.
 */

/* The descriptor of an operand in shared memory, in pieces of 8 rows of 128 bytes with the 128-byte swizzle of tensor maps, which
 * permutes chunks of 16 bytes. If terms are along a row, `stride` is the distance between groups of 8 matrix rows. If transposed,
 * matrix rows are along a row, `leading` is the distance between groups of 64 of them, and `stride` that between groups of 8
 * terms. Distances are in bytes. */
static __device__ __forceinline__ unsigned long long operand_at(const void *shared, unsigned leading, unsigned stride) {
  unsigned long long swizzle_128 = 1ull << 62;
  return (unsigned long long)((shared_address(shared) & 0x3FFFF) >> 4) | (unsigned long long)(leading >> 4) << 16 |
         (unsigned long long)(stride >> 4) << 32 | swizzle_128;
}

/* Call it before the first product whose sums the threads have accessed. */
static __device__ __forceinline__ void products_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

/* Commits the products started since the last call as one group. */
static __device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

/* Waits until at most the PENDING latest groups are pending. */
template <int PENDING> static __device__ __forceinline__ void products_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory"); }

/* Keeps the compiler from moving accesses to sums across this point. */
template <int REGISTERS> static __device__ __forceinline__ void sums_settle(float (&sum)[REGISTERS]) {
#pragma unroll
  for (int i = 0; i < REGISTERS; i++) asm volatile("" : "+f"(sum[i])::"memory");
}

/* The names of 32, 64 and 128 operands, and the operands. */
#define NAMES_32                                                                                                            \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, " \
  "%26, %27, %28, %29, %30, %31"
#define NAMES_64                                                                                                                      \
  NAMES_32                                                                                                                            \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, " \
  "%57, %58, %59, %60, %61, %62, %63"
#define NAMES_128                                                                                                                     \
  NAMES_64                                                                                                                            \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, " \
  "%89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SUMS_4(i) "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3])
#define SUMS_16(i) SUMS_4(i), SUMS_4(i + 4), SUMS_4(i + 8), SUMS_4(i + 12)
#define SUMS_32(i) SUMS_16(i), SUMS_16(i + 16)
#define SUMS_64(i) SUMS_32(i), SUMS_32(i + 32)
#define SUMS_128(i) SUMS_64(i), SUMS_64(i + 64)

/* Without `add` the sums are the product alone. For transposed operands see operand_at. */
#define MULTIPLY_ASYNC(columns, registers, a_name, b_name, add_name, a_order, b_order)                                                 \
  template <bool A_TRANSPOSED, bool B_TRANSPOSED>                                                                                      \
  static __device__ __forceinline__ void multiply_async(float (&sum)[registers], unsigned long long a, unsigned long long b, bool add) { \
    asm volatile("{ .reg .pred add; setp.ne.b32 add, %" #add_name ", 0; wgmma.mma_async.sync.aligned.m64n" #columns                    \
                 "k16.f32.bf16.bf16 {" NAMES_##registers "}, %" #a_name ", %" #b_name ", add, 1, 1, %" #a_order ", %" #b_order "; }"    \
                 : SUMS_##registers(0)                                                                                                 \
                 : "l"(a), "l"(b), "r"((int)add), "n"((int)A_TRANSPOSED), "n"((int)B_TRANSPOSED));                                     \
  }
MULTIPLY_ASYNC(64, 32, 32, 33, 34, 35, 36)
MULTIPLY_ASYNC(128, 64, 64, 65, 66, 67, 68)
MULTIPLY_ASYNC(256, 128, 128, 129, 130, 131, 132)

#endif
