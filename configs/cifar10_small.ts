// CIFAR-10 with a network of 1.3 million parameters, small enough to watch the loss fall on a laptop.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'cifar10_rf_gaussian_ddpmpp',
  model: { nf: 32, ch_mult: [1, 2, 2], num_res_blocks: 1, attn_resolutions: [8], dropout: 0 },
  optim: { lr: 1e-3, warmup: 50 },
  training: { batch_size: 32, n_iters: 5000, snapshot_freq: 1000, snapshot_freq_for_preemption: 250 },
  eval: { batch_size: 64, begin_ckpt: 0, end_ckpt: 1000 },
  // Snapshots with samples that cost little.
  sampling: { use_ode_sampler: 'euler', sample_N: 20 },
} satisfies ConfigFile;
