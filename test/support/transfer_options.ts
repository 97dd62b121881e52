// The rows of the options of `transfer`, for test/cli/options.test.ts.
import type { At, Rows } from './text_options.ts';

/** @param checkpoint of a flow between two sets of images */
export function transferRows(at: At, checkpoint: string): Rows {
  const transfer = `transfer --checkpoint ${checkpoint} --input 2 --out ${at('x.npy')}`;
  return {
    checkpoint: ['transfer --input 2 --out x.png', /--checkpoint is required/],
    best: [`${transfer} --best`, /--best needs the folder of a run as --checkpoint/],
    input: [`transfer --checkpoint ${checkpoint} --input 0 --out x.png`, /--input expects a number of images from 1/],
    out: [`transfer --checkpoint ${checkpoint} --input 2`, /--out is required/],
    reverse: [`${transfer} --reverse --sampler euler --steps 1`, /2 images from the target to the source/],
    sampler: [`${transfer} --sampler heun --steps 3`, /^NFE 6 /m],
    steps: [`${transfer} --sampler euler --steps 3`, /^NFE 3 /m],
    tol: [`${transfer} --sampler euler --tol 1`, /--tol has no effect with the sampler euler; give --steps/],
    seed: [`${transfer} --reverse --seed 1`, /--seed has no effect with --reverse/],
    scale: [`${transfer} --scale 2`, /scale has an effect only on a grid/],
    config: [`${transfer} --config digits`, /transfer needs a flow between two sets of images/],
  };
}
