/* Functions that need inline PTX; apart from ptx_hopper.cuh, no other CUDA file has any. It includes nothing, so that it can be
 * replaced by another implementation of the same functions. Requires sm_80. The whole warp must call the matrix instructions.
 */
#ifndef RECTIFLOW_PTX_CUH
#define RECTIFLOW_PTX_CUH

#define PTX static __device__ __forceinline__

/* ---------------------------------------------------------------- conversions */

/* Rounds to nearest, ties to even. */
PTX unsigned short bf16_of(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

/* Both rounded, the first in the low half. */
PTX unsigned bf16_pair(float low, float high) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

/* Sums of two pairs, each rounded. */
PTX unsigned bf16_pair_sum(unsigned a, unsigned b) {
  unsigned sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(0x3F803F80u), "r"(b));
  return sum;
}

/* 2^x and 1 / x with a relative error of about 2^-22; subnormal numbers count as 0. */
PTX float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
PTX float fast_reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/* Rounds f32 to the 10 fraction bits of tf32: to nearest, ties away from zero. */
PTX unsigned tf32_of(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

/* ---------------------------------------------------------------- asynchronous copies by the calling thread */

/* Copies 16 bytes from global to shared memory, both aligned to 16 bytes; writes zeros unless `there`. */
PTX void copy_async(void *shared, const void *global, bool there) {
  unsigned target = (unsigned)__cvta_generic_to_shared(shared);
  int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global), "r"(bytes) : "memory");
}

/* Commits the copies started since the last call as one group. */
PTX void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits until at most the N latest groups are pending. Copies by other threads are visible only after a barrier. */
template <int N> PTX void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* ---------------------------------------------------------------- fragments
 * Lane l has g = l / 4 and t = l % 4. Loads four 8x8 matrices of 16-bit elements: lane l gives the address of row l % 8 of matrix
 * l / 8 (16 bytes), and receives 32 bits of each matrix: word t of row g, or if transposed, rows 2t and 2t + 1 of column g.
 */
PTX void load_matrices(unsigned (&out)[4], const void *row) {
  unsigned from = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(from)
               : "memory");
}

PTX void load_matrices_transposed(unsigned (&out)[4], const void *row) {
  unsigned from = (unsigned)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(from)
               : "memory");
}

/* sum [16, 8] += a [16, 16] b [16, 8] in bf16, two elements per word, the lower index in the low half.
 * sum: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1); a: (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8) and their right
 * neighbours; b: (2t, g), (2t + 8, g) and the elements below.
 */
PTX void multiply_bf16(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* sum [16, 8] += a [16, 8] b [8, 8] in tf32. sum as above; a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b: (t, g), (t + 4, g). */
PTX void multiply_tf32(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
