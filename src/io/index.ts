/// <reference types="node" preserve="true" />
// Files of other programs and our own: the public names of `rectiflow/io`.
export { type ArrayData, type ArrayDtype, type ArrayFile, toFloat32 } from './array.ts';
export { removeLeftovers, requireWritable, writeFileAtomic } from './atomic.ts';
export { type DownloadFileOptions, downloadFile } from './download.ts';
export { crc32c, EventFile, type EventImage } from './events.ts';
export { asFileError } from './file.ts';
export { type GridOptions, imageGrid } from './grid.ts';
export type { Image } from './image.ts';
export { decodeNpy, encodeNpy, readNpy, writeNpy } from './npy.ts';
export { NpyRows, writeNpyRows } from './npy_rows.ts';
export { type ReadNpzOptions, readNpz, writeNpz } from './npz.ts';
export { Tuple } from './pickle_machine.ts';
export { decodePng, encodePng, type ReadPngOptions, readPng, writePng } from './png.ts';
export { readPth } from './pth.ts';
export { writePth } from './pth_write.ts';
export {
  readSafetensors,
  readSafetensorsHeader,
  type SafetensorsHeader,
  type TensorEntry,
  writeSafetensors,
} from './safetensors.ts';
export { OrderedDict } from './torch_pickle.ts';
export { flattenTorch, unflattenTorch } from './torch_safetensors.ts';
export { Float, type TorchInput, type TorchValue } from './torch_values.ts';
