/* The lower or upper triangle of matrices. One thread per element. */
#include "common.cuh"

/* n elements of matrices [rows, columns]; y = x where column - row <= offset (upper: >= offset), else 0. size: 1, 2 or 4 bytes. */
KERNEL triangle_keep(const void *x, void *y, int n, int rows, int columns, int offset, int upper, int size) {
  u32 i = thread_number();
  if (i >= (u32)n) return;
  int row = (int)(i / (u32)columns % (u32)rows), column = (int)(i % (u32)columns);
  bool keep = upper ? column - row >= offset : column - row <= offset;
  if (size == 4) ((u32 *)y)[i] = keep ? ((const u32 *)x)[i] : 0;
  else if (size == 2) ((u16 *)y)[i] = keep ? ((const u16 *)x)[i] : (u16)0;
  else ((u8 *)y)[i] = keep ? ((const u8 *)x)[i] : (u8)0;
}
