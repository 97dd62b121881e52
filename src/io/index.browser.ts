// The public names of `rectiflow/io` in a browser: those that work on bytes in memory.
export { type ArrayData, type ArrayDtype, type ArrayFile, toFloat32 } from './array.ts';
export { type GridOptions, imageGrid } from './grid.ts';
export { loadModule, type StatefulModule } from './module_file.ts';
export { decodeNpy, encodeNpy } from './numpy/npy.ts';
export { type DecodeNpzOptions, decodeNpz } from './numpy/npz_bytes.ts';
export type { Image } from './png.ts';
export { decodeSafetensors, encodeSafetensors, type SafetensorsHeader, type TensorEntry } from './safetensors.ts';
