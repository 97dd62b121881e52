// The base of the 256x256 configurations: configs/default_lsun_configs.py of the official code, with the NCSN++ that its four
// configurations share.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'base',
  data: { dataset: 'LSUN', image_size: 256 },
  model: {
    ema_rate: 0.999,
    dropout: 0,
    ch_mult: [1, 1, 2, 2, 2, 2, 2],
    num_res_blocks: 2,
    fir: true,
    progressive: 'output_skip',
    progressive_input: 'input_skip',
    scale_by_sigma: true,
    sigma_max: 378,
    num_scales: 2000,
  },
  training: {
    batch_size: 64,
    n_iters: 2_400_001,
    snapshot_freq: 100_000,
    snapshot_freq_for_preemption: 5000,
  },
  eval: { begin_ckpt: 50, end_ckpt: 96, batch_size: 512 },
  sampling: { snr: 0.075 },
} satisfies ConfigFile;
