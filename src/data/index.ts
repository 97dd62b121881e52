/// <reference types="node" preserve="true" />
// The public names of `rectiflow/data`: data sets, batches, shuffling and scaling.
export { type ArrayDataset, arrayDataset, type FieldArray, type Rows } from './arrays.ts';
export { type Batch, type BatchOptions, batchIndices, sequentialBatch, trainingBatch } from './batches.ts';
export { type Cifar10, type DownloadOptions, downloadCifar10, loadCifar10 } from './cifar10.ts';
export { type CsvDataset, type CsvOptions, loadCsv } from './csv.ts';
export { type ImageDataset, type LabelledImages, memoryDataset } from './dataset.ts';
export { type Digits, digitsDataset, loadDigits } from './digits.ts';
export { type FolderOptions, openImageFolder } from './image_folder.ts';
export { type Batches, type BatchesOptions, type BatchPlace, batches, type ImageTensors } from './iterate.ts';
export { channelsFirst, channelsLast, type ImagesShape } from './layout.ts';
export { type LmdbDatabase, openLmdb } from './lmdb.ts';
export { type LsunOptions, openLsun } from './lsun.ts';
export { loadMnist } from './mnist.ts';
export { checkPairs, type PairCheckOptions, type PairFinding } from './pairs/check.ts';
export { quantisedRange } from './pairs/elements.ts';
export type {
  NoiseLaw,
  PairCondition,
  PairDtype,
  PairManifest,
  PairPlan,
  PairShape,
  PairShard,
  TextStatesPlan,
} from './pairs/manifest.ts';
export { pairCondition, readManifest } from './pairs/manifest.ts';
export { type PairBatch, PairSet, writePairFile } from './pairs/set.ts';
export { PairWriter } from './pairs/writer.ts';
export { type PointSetName, pointSetNames, samplePoints } from './points.ts';
export { dequantizePixels, flipHorizontal, type ScaleOptions, scalePixels, toPixels } from './scaling.ts';
export { shuffledIndex } from './shuffle.ts';
