// A student of Stable Diffusion or InstaFlow: pairs of texts, noise and latents from the network in model.folder, and reflow or distillation
// on them, as InstaFlow was made (Liu et al. 2024).
import type { ConfigFile } from 'rectiflow/run';

export default {
  data: { dataset: 'PROMPTS', image_size: 64, num_channels: 4, random_flip: false },
  model: { name: 'stable_diffusion', dropout: 0, ema_rate: 0.999, activation_checkpointing: true },
  // The recipe of InstaFlow trains with AdamW; it does not state the rate.
  optim: { optimizer: 'AdamW', lr: 1e-5, weight_decay: 0.01, warmup: 500 },
  training: {
    batch_size: 16,
    accumulation: 16,
    n_iters: 10_000,
    snapshot_freq: 5000,
    snapshot_freq_for_preemption: 500,
    snapshot_sampling: false,
    caption_dropout: 0,
  },
  sampling: { use_ode_sampler: 'euler', sample_N: 25, guidance: 1 },
  reflow: { pair_format: 'shards', pair_dtype: 'f16', exact_t0: true },
} satisfies ConfigFile;
