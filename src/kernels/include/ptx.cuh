/* What only PTX can say: the one file with inline assembly. It includes nothing, so that another text of the same functions
 * can stand in its place. All of sm_80. Matrix instructions: the whole warp must call.
 */
#ifndef RECTIFLOW_PTX_CUH
#define RECTIFLOW_PTX_CUH

#define PTX static __device__ __forceinline__

/* ---------------------------------------------------------------- conversions */

/* To nearest, ties to even. */
PTX unsigned short bf16_of(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

/* f32 with the 10 bits of fraction that tf32 has: to nearest, ties away from zero. */
PTX unsigned tf32_of(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

/* ---------------------------------------------------------------- asynchronous copies, of the calling thread */

/* 16 bytes from global to shared memory, both aligned to 16; zeros unless `there`. */
PTX void copy_async(void *shared, const void *global, bool there) {
  unsigned target = (unsigned)__cvta_generic_to_shared(shared);
  int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(global), "r"(bytes) : "memory");
}

/* Makes the copies begun since the last call one group. */
PTX void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/* Waits until at most the N youngest groups are under way. What other threads copied is there after a barrier only. */
template <int N> PTX void copy_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* ---------------------------------------------------------------- fragments
 * Lane l has g = l / 4 and t = l % 4. Four 8x8 matrices of 16 bits: lane l names row l % 8 of matrix l / 8, 16 bytes; it gets
 * of each matrix the 32 bits at row g, place t; transposed, those of rows 2t and 2t + 1 in column g.
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

/* sum [16, 8] += a [16, 16] b [16, 8] of bf16, two a word, the lower index in the low half.
 * sum: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1); a: (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8) and their right
 * neighbours; b: (2t, g), (2t + 8, g) and those below.
 */
PTX void multiply_bf16(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* sum [16, 8] += a [16, 8] b [8, 8] of tf32. sum as above; a: (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4); b: (t, g), (t + 4, g). */
PTX void multiply_tf32(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
