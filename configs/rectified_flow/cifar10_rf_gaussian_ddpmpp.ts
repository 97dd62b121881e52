// 1-rectified flow on CIFAR-10 with DDPM++, as configs/rectified_flow/cifar10_rf_gaussian_ddpmpp.py of the official code.
import type { ConfigFile } from 'rectiflow/run';

export default {
  data: { centered: true },
  model: { ema_rate: 0.999999, dropout: 0.15, embedding_type: 'positional' },
  training: { snapshot_freq: 100_000 },
} satisfies ConfigFile;
