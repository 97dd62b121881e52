// The public names of `rectiflow/data` in a browser: those that need no files.
export { type ArrayDataset, arrayDataset, type FieldArray, type Rows } from './arrays.ts';
export { type Batch, type BatchOptions, batchIndices, sequentialBatch, trainingBatch } from './batches.ts';
export { type ImageDataset, type LabelledImages, memoryDataset } from './dataset.ts';
export { type Batches, type BatchesOptions, type BatchPlace, batches, type ImageTensors } from './iterate.ts';
export { channelsFirst, channelsLast, type ImagesShape } from './layout.ts';
export { type PointSetName, pointSetNames, samplePoints } from './points.ts';
export { dequantizePixels, flipHorizontal, type ScaleOptions, scalePixels, toPixels } from './scaling.ts';
export { shuffledIndex } from './shuffle.ts';
