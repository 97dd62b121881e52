// From the operators of PyTorch's database to our functions, by the database's names (operator:variant), one file for each
// family. A mapping throws Semantics for a sample that we refuse or define otherwise; the docstring of our function says so.
import { creationRows } from './creation.ts';
import { elementwiseRows } from './elementwise.ts';
import { imageRows } from './images.ts';
import { indexingRows } from './indexing.ts';
import { layerRows } from './layers.ts';
import { lossRows } from './losses.ts';
import { productRows } from './products.ts';
import { reductionRows } from './reductions.ts';
import type { Run } from './sample.ts';
import { shapeRows } from './shapes.ts';

export const mapping: Record<string, Run> = {
  ...creationRows,
  ...elementwiseRows,
  ...imageRows,
  ...indexingRows,
  ...layerRows,
  ...lossRows,
  ...productRows,
  ...reductionRows,
  ...shapeRows,
};
