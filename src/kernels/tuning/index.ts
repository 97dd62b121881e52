// Measured rates of the convolution algorithms, a table for each instruction set. `rectiflow tune --out src/kernels/tuning/X.ts`
// makes one again. NEON goes by the table of 128-bit vectors, which was measured with SSE.
import { avx2 } from './avx2.ts';
import { avx512 } from './avx512.ts';
import { simd128 } from './simd128.ts';
import { wasm } from './wasm.ts';

export const tunings = { avx512, avx2, simd128, wasm };
