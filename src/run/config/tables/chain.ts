// The table `chain`: how many flows, pairs and steps a chain has.
import { z } from 'zod';
import { fixedSolvers } from '../../../flow/solvers.ts';
import { free, table } from '../keys.ts';
import { MANY, MOST_IMAGES, MOST_STEPS, number, positive, whole } from '../values.ts';

const sampler = 'chain.pair_sampler';

export const chainTable = table(
  'The stages of `chain`, which take everything else from the other tables. The official code has no such command.',
  ['chain', 'estimate'],
  {
    flows: free(
      whole(1, 1000),
      'Number of rectified flows: the first is trained on the data, each further one is the reflow of the one before.',
      { unit: 'flows', ours: true },
    ),
    reflow_iters: free(
      whole(0, MANY),
      'Index of the last step of each reflow, like training.n_iters for the first flow.',
      {
        unit: 'steps',
        ours: true,
        needs: { key: 'chain.flows', words: 'above 1', met: (flows: number) => flows > 1 },
      },
    ),
    distil_steps: free(
      whole(0, MOST_STEPS),
      'Euler steps of the generator that the last flow is distilled to; 0 for none.',
      {
        unit: 'steps',
        ours: true,
      },
    ),
    distil_iters: free(whole(0, MANY), 'Index of the last step of the distillation, like training.n_iters.', {
      unit: 'steps',
      ours: true,
      needs: { key: 'chain.distil_steps', words: 'above 0', met: (steps: number) => steps > 0 },
    }),
    pairs: free(whole(1, MOST_IMAGES), 'Number of pairs generated from each flow for the next stage.', {
      unit: 'pairs',
      ours: true,
    }),
    pair_sampler: free(
      z.enum([...fixedSolvers, 'rk45']),
      'ODE solver of the pairs, as sampling.use_ode_sampler is that of everything else.',
      { ours: true },
    ),
    pair_steps: free(whole(1, MOST_STEPS), 'Steps of chain.pair_sampler, if it takes equal steps.', {
      unit: 'steps',
      ours: true,
      needs: { key: sampler, words: 'other than rk45', met: (name: string) => name !== 'rk45' },
    }),
    pair_tol: free(positive(1), 'Absolute and relative tolerance of chain.pair_sampler, if it is rk45.', {
      ours: true,
      needs: { key: sampler, words: 'rk45', met: (name: string) => name === 'rk45' },
    }),
    pair_guidance: free(
      number(0, 1000),
      'Guidance of the pairs, as sampling.guidance is that of everything else: the next flow learns what the guided one gives.',
      {
        ours: true,
        source: 'InstaFlow (Liu et al., 2024), section 4',
        needs: {
          key: 'model.name',
          words: 'unet2d_condition',
          met: (name: string, own) => own === 1 || name === 'unet2d_condition',
        },
      },
    ),
    classifier: free(
      z.boolean(),
      "Whether to score with a classifier that is first trained on the data set's labels, instead of eval.features. With captions, another one is trained on the held-out images, to read the classes of samples.",
      { ours: true },
    ),
  },
);
