/// <reference types="node" preserve="true" />
// The public names of `rectiflow/io`: readers and writers of file formats.
export { type ArrayData, type ArrayDtype, type ArrayFile, toFloat32 } from './array.ts';
export { writeFileAtomic } from './atomic.ts';
export { type DisplayedImage, displayImage } from './display.ts';
export { type DownloadFileOptions, downloadFile } from './download.ts';
export { EventFile, type EventImage } from './events.ts';
export { type GridOptions, imageGrid } from './grid.ts';
export { loadModule, type StatefulModule, saveModule } from './module_file.ts';
export { decodeNpy, encodeNpy, readNpy, writeNpy } from './numpy/npy.ts';
export { NpyRows, writeNpyRows } from './numpy/npy_rows.ts';
export { type ReadNpzOptions, readNpz, writeNpz } from './numpy/npz.ts';
export { type DecodeNpzOptions, decodeNpz } from './numpy/npz_bytes.ts';
export type { Image } from './png.ts';
export { decodePng, encodePng, type ReadPngOptions, readPng, type WritePngOptions, writePng } from './png.ts';
export {
  decodeSafetensors,
  encodeSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  type SafetensorsHeader,
  type TensorEntry,
  writeSafetensors,
} from './safetensors.ts';
export { Tuple } from './torch/pickle_machine.ts';
export { readPth } from './torch/pth.ts';
export { writePth } from './torch/pth_write.ts';
export { OrderedDict } from './torch/torch_pickle.ts';
export { flattenTorch, unflattenTorch } from './torch/torch_safetensors.ts';
export { Float, type TorchInput, type TorchValue } from './torch/torch_values.ts';
