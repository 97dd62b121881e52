// The table `sampling`: how noise becomes images.
import { z } from 'zod';
import { fixedSolvers } from '../../../flow/solvers.ts';
import { fixed, free, inert, table, training } from '../keys.ts';
import { LARGEST, MOST_STEPS, number, positive, whole } from '../values.ts';

export const samplingTable = table('How noise becomes images.', [...training, 'eval', 'sample', 'serve'], {
  method: free(z.enum(['rectified_flow']), 'The method; there is one.'),
  init_type: free(z.enum(['gaussian']), 'The distribution pi_0 that paths start from; there is one.'),
  init_noise_scale: fixed(positive(LARGEST), 'Standard deviation of the noise that paths start from, pi_0.', {
    also: ['report', 'pairs'],
  }),
  use_ode_sampler: free(
    z.enum([...fixedSolvers, 'rk45']),
    'The ODE solver: rk45 chooses its steps by sampling.ode_tol, the others take sampling.sample_N equal steps. The official code has euler and rk45.',
  ),
  ode_tol: free(positive(1), 'Absolute and relative tolerance of rk45.', {
    needs: { key: 'sampling.use_ode_sampler', words: 'rk45', met: (sampler: string) => sampler === 'rk45' },
    also: ['report'],
  }),
  sample_N: free(
    whole(1, MOST_STEPS),
    'Steps of the solvers with equal steps. euler evaluates the network once per step, heun and midpoint twice, rk4 four times.',
    {
      unit: 'steps',
      needs: {
        key: 'sampling.use_ode_sampler',
        words: 'other than rk45',
        met: (sampler: string) => sampler !== 'rk45',
      },
    },
  ),
  sigma_variance: free(
    number(0, LARGEST),
    'Above 0, euler becomes a stochastic sampler with noise of deviation (1 - t) sigma_variance sqrt(dt) per step.',
    {
      needs: {
        key: 'sampling.use_ode_sampler',
        words: 'euler',
        met: (sampler: string, own) => own === 0 || sampler === 'euler',
      },
    },
  ),
  sde_drift: free(
    z.enum(['exact', 'legacy']),
    'Drift of the stochastic sampler; the official one, legacy, does not preserve the marginals.',
    {
      ours: true,
      needs: { key: 'sampling.sigma_variance', words: 'above 0', met: (sigma: number) => sigma > 0 },
    },
  ),
  guidance: free(
    number(0, 1000),
    'Scale of the guidance towards the caption: v(empty) + guidance (v(caption) - v(empty)). At most 1: none, and one evaluation a step instead of two.',
    {
      ours: true,
      source: 'classifier-free guidance (Ho, Salimans, 2021)',
      needs: {
        key: 'model.name',
        words: 'unet2d_condition or stable_diffusion',
        met: (name: string, own) => own === 1 || name !== 'ncsnpp',
      },
    },
  ),
  memory_budget: free(
    whole(1, 2 ** 50),
    'Memory that one evaluation of the network may use; larger batches are evaluated in parts.',
    { unit: 'bytes', ours: true, also: ['report'] },
  ),
  not_finite: free(
    z.enum(['refuse', 'leave_out']),
    'Whether samples that are not finite are an error or are left out and counted. In pairs they are always an error.',
    { ours: true },
  ),
  n_steps_each: inert(free(whole(1, MOST_STEPS), 'Corrector steps of Score SDE.', { unit: 'steps' })),
  noise_removal: inert(free(z.boolean(), 'A last denoising step of Score SDE.')),
  probability_flow: inert(free(z.boolean(), 'The probability flow sampler of Score SDE.')),
  snr: inert(free(positive(LARGEST), 'Signal-to-noise ratio of the corrector of Score SDE.')),
});
