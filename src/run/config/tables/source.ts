// The table `source`: the images that the paths of a domain transfer start from.
import { z } from 'zod';
import { fixed, free, table, training } from '../keys.ts';
import { changes, type DataSetName, dataSets, halves, hasCategory } from './data.ts';

const needs = { key: 'sampling.init_type', words: 'data', met: (type: string) => type === 'data' } as const;
const alsoRead = ['classifier', 'eval', 'pairs', 'report', 'sample', 'serve', 'transfer'] as const;

export const sourceTable = table(
  'The images that paths start from, if they do not start from noise: a domain transfer. They get the size, the channels and the EXIF rotation of `data`.',
  [...training, ...alsoRead],
  {
    dataset: fixed(z.enum(Object.keys(dataSets) as DataSetName[]), 'The data set, as data.dataset.', {
      ours: true,
      needs,
    }),
    root_path: free(z.string(), 'Folder of its files, as data.root_path.', { ours: true, needs }),
    category: fixed(z.string(), 'Its category or classes, as data.category.', {
      ours: true,
      needs: {
        key: 'source.dataset',
        words: 'a data set with classes or categories',
        met: (dataset: DataSetName, own) => own === '' || hasCategory(dataset),
      },
    }),
    half: fixed(z.enum(halves), 'Which half of it, as data.half.', {
      ours: true,
      needs: {
        key: 'source.dataset',
        words: 'DIGITS',
        met: (dataset: DataSetName, own) => own === 'whole' || dataset === 'DIGITS',
      },
    }),
    change: fixed(z.enum(changes), 'What is done to its images, as data.change.', { ours: true, needs }),
    random_flip: fixed(
      z.boolean(),
      'Whether training mirrors each of its images with probability 1/2, independently of data.random_flip.',
      { ours: true, needs },
    ),
  },
);
