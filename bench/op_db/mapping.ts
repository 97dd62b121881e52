// From the operators of PyTorch's database to our functions, by the database's names (operator:variant), one file for each
// family. A mapping throws Semantics for a sample that we refuse or define otherwise; the docstring of our function says so.
import { elementwiseRows } from './elementwise.ts';
import { indexingRows } from './indexing.ts';
import { reductionRows } from './reductions.ts';
import type { Run } from './sample.ts';

export const mapping: Record<string, Run> = {
  ...elementwiseRows,
  ...indexingRows,
  ...reductionRows,
};
