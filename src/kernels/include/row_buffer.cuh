/* Buffers in shared memory through which a warp passes the sums of its products, in the order of fragments, to lanes that have adjacent
 * columns of a row.
 */
#ifndef RECTIFLOW_ROW_BUFFER_CUH
#define RECTIFLOW_ROW_BUFFER_CUH

#include "common.cuh"

constexpr int BUFFER_BYTES = 16 * 128; /* of 16 rows */

/* Chunks of 16 bytes are swizzled, so that the same chunk of eight rows is in different banks. */
struct row_buffer {
  unsigned char *memory;
  __device__ __forceinline__ unsigned char *at(int row, int chunk) const { return memory + row * 128 + (chunk ^ row % 8) * 16; }
};

/* Puts the calling lane's sums of 32 columns into a buffer in f32. With g = lane / 4 and t = lane % 4, four sums are those of
 * (g, 2t), (g, 2t + 1), (g + 8, 2t) and (g + 8, 2t + 1) in each group of 8 columns. */
DEVICE void put_sums(const row_buffer &buffer, const float *sum) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int i = 0; i < 8; i++)
    *(float2 *)(buffer.at(lane / 4 + i % 2 * 8, i / 2 * 2 + lane % 4 / 2) + lane % 2 * 8) = make_float2(sum[2 * i], sum[2 * i + 1]);
}

#endif
