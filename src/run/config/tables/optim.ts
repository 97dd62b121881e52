// The table `optim`: the optimiser and its schedule.
import { z } from 'zod';
import { fixed, table } from '../keys.ts';
import { LARGEST, MANY, number, positive, rate, whole } from '../values.ts';

const optimizers = ['Adam', 'AdamW', 'SGD', 'Lion', 'Muon'] as const;
const schedules = ['constant', 'linear', 'cosine', 'step'] as const;

const adaptive = {
  key: 'optim.optimizer',
  words: 'other than SGD',
  met: (optimizer: string) => optimizer !== 'SGD',
};
const withMomentum = {
  key: 'optim.optimizer',
  words: 'SGD or Muon',
  met: (optimizer: string) => ['SGD', 'Muon'].includes(optimizer),
};
const changing = {
  key: 'optim.schedule',
  words: 'other than constant',
  met: (schedule: string) => schedule !== 'constant',
};

export const optimTable = table(
  'The optimiser and its learning rate.',
  ['train', 'reflow', 'chain', 'estimate', 'convert'],
  {
    optimizer: fixed(
      z.enum(optimizers),
      'The optimiser. Muon updates matrices, and AdamW the other parameters. The official code has Adam only.',
    ),
    lr: fixed(
      positive(LARGEST),
      'Learning rate after the warm-up. Larger values learn faster until the loss diverges.',
    ),
    beta1: fixed(rate(), 'Decay of the mean of the gradients.', { needs: adaptive }),
    beta2: fixed(
      rate(),
      'Decay of the mean of the squared gradients; for Lion that of its only mean, 0.99 in its paper. The official code always has 0.999.',
      { ours: true, needs: adaptive },
    ),
    eps: fixed(positive(LARGEST), 'Number added to the root of the mean square, so that nothing is divided by 0.', {
      needs: {
        key: 'optim.optimizer',
        words: 'Adam, AdamW or Muon',
        met: (optimizer: string) => !['SGD', 'Lion'].includes(optimizer),
      },
    }),
    weight_decay: fixed(
      number(0, LARGEST),
      'Weight decay: an L2 penalty for Adam and SGD; the others subtract the learning rate times it from each parameter (decoupled decay).',
    ),
    momentum: fixed(rate(), 'Momentum of SGD and of Muon; 0 for none.', { ours: true, needs: withMomentum }),
    nesterov: fixed(z.boolean(), "Whether that momentum is Nesterov's.", { ours: true, needs: withMomentum }),
    muon_lr: fixed(positive(LARGEST), 'Learning rate of the matrices with Muon; the other parameters have optim.lr.', {
      ours: true,
      source: 'Muon (Jordan et al., 2024)',
      needs: { key: 'optim.optimizer', words: 'Muon', met: (optimizer: string) => optimizer === 'Muon' },
    }),
    warmup: fixed(whole(0, MANY), 'Updates over which the learning rate rises linearly from 0; 0 for none.', {
      unit: 'updates',
    }),
    schedule: fixed(
      z.enum(schedules),
      'The learning rate after the warm-up: constant, a linear or a cosine decay, or a factor every optim.schedule_steps. The official code keeps it constant.',
      { ours: true },
    ),
    schedule_steps: fixed(
      whole(1, MANY),
      'Updates after which linear and cosine end, the warm-up included, or between two changes of step.',
      { unit: 'updates', ours: true, needs: changing },
    ),
    schedule_factor: fixed(
      number(0, 1),
      'The last learning rate of linear and cosine as a share of optim.lr, or the factor of each change of step.',
      { ours: true, needs: changing },
    ),
    grad_clip: fixed(
      number(-LARGEST, LARGEST),
      'Largest global norm of the gradient; larger gradients are scaled down to it. A negative number disables clipping.',
    ),
  },
);
