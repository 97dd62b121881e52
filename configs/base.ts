// The values every other configuration starts from: configs/default_cifar10_configs.py of the official code, with what
// its eleven runnable configurations have in common.
import type { Config } from 'rectiflow/run';

export default {
  seed: 42,
  data: {
    dataset: 'CIFAR10',
    root_path: '',
    category: '',
    image_size: 32,
    num_channels: 3,
    random_flip: true,
    centered: false,
    uniform_dequantization: false,
  },
  model: {
    ema_rate: 0.9999,
    dropout: 0.1,
    nf: 128,
    ch_mult: [1, 2, 2, 2],
    num_res_blocks: 4,
    attn_resolutions: [16],
    embedding_type: 'fourier',
    fourier_scale: 16,
    conditional: true,
    scale_by_sigma: false,
    skip_rescale: true,
    init_scale: 0,
  },
  optim: { lr: 2e-4, beta1: 0.9, eps: 1e-8, weight_decay: 0, warmup: 5000, grad_clip: 1 },
  training: {
    batch_size: 128,
    n_iters: 1_300_001,
    snapshot_freq: 50_000,
    snapshot_freq_for_preemption: 10_000,
    log_freq: 50,
    eval_freq: 100,
    snapshot_sampling: true,
  },
  eval: { folder: 'eval', batch_size: 1024, enable_loss: true },
  sampling: { use_ode_sampler: 'rk45', ode_tol: 1e-5, sample_N: 1000, memory_budget: 2 ** 31 },
} satisfies Config;
