/* Weights [Cout, taps, Cin] as [Cin, taps, Cout], taps in reverse: the input's gradient at stride 1 is a convolution with them. */
#include "storage.cuh"

/* A block of 32 x 8 threads turns a piece of 32 x 32 channels of one tap, which is blockIdx.z. */
KERNEL __launch_bounds__(256) conv_mirror(const real *w, real *mirrored, int out, int taps, int in) {
  __shared__ real piece[32][34];
  int tap = (int)blockIdx.z, in0 = (int)blockIdx.x * 32, out0 = (int)blockIdx.y * 32;
  for (int i = threadIdx.y; i < 32; i += 8)
    if (out0 + i < out && in0 + (int)threadIdx.x < in)
      piece[i][threadIdx.x] = w[((size_t)(out0 + i) * (size_t)taps + tap) * (size_t)in + in0 + threadIdx.x];
  __syncthreads();
  for (int i = threadIdx.y; i < 32; i += 8)
    if (in0 + i < in && out0 + (int)threadIdx.x < out)
      mirrored[((size_t)(in0 + i) * (size_t)taps + (taps - 1 - tap)) * (size_t)out + out0 + threadIdx.x] = piece[threadIdx.x][i];
}
