// Domain transfer from cats to wild animals of AFHQ at 256 x 256 with the values of the paper's section 5.3, as far as it states them.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'afhq_cat_pytorch_rf_gaussian',
  data: { dataset: 'AFHQ', category: 'wild' },
  source: { dataset: 'AFHQ', category: 'cat' },
  model: { dropout: 0.1, ema_rate: 0.9999 },
  optim: { optimizer: 'AdamW', lr: 2e-4, weight_decay: 0.1 },
  // 1000 passes over about 4,700 images in batches of 4.
  training: { batch_size: 4, n_iters: 1_200_000, feature_weight: 0.5 },
  sampling: { init_type: 'data', smooth_source: 0.05 },
} satisfies ConfigFile;
