// Domain transfer from the cats to the dogs of CIFAR-10 with a small network.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'cifar10_small',
  data: { category: 'dog' },
  source: { dataset: 'CIFAR10', category: 'cat' },
  training: { n_iters: 6000, snapshot_freq: 3000 },
  eval: { num_samples: 1000, features: 'pixels' },
  sampling: { init_type: 'data', smooth_source: 0.05, sample_N: 10, ode_tol: 1e-3 },
  reflow: { student: 'ema' },
  // 5,000 images of each class, so that every image starts two pairs.
  chain: {
    reflow_iters: 3000,
    distil_steps: 0,
    pairs: 10_000,
    pair_sampler: 'euler',
    pair_steps: 12,
    classifier: true,
  },
} satisfies ConfigFile;
