// 1-rectified flow on the 8x8 handwritten digits, which trains in minutes on a laptop. The quickstart uses this configuration.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'cifar10_rf_gaussian_ddpmpp',
  // A mirrored digit is not a digit.
  data: { dataset: 'DIGITS', image_size: 8, num_channels: 1, random_flip: false },
  model: { nf: 32, ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [4], dropout: 0 },
  optim: { lr: 2e-3, warmup: 20 },
  training: { batch_size: 128, n_iters: 500, snapshot_freq: 500, snapshot_freq_for_preemption: 250 },
  eval: { batch_size: 128, num_samples: 192, features: 'pixels', begin_ckpt: 0, end_ckpt: 1000 },
  sampling: { use_ode_sampler: 'euler', sample_N: 10, ode_tol: 1e-3 },
  reflow: { student: 'ema' },
  chain: { reflow_iters: 250, distil_iters: 150, pairs: 2048, pair_sampler: 'euler', pair_steps: 12, classifier: true },
} satisfies ConfigFile;
