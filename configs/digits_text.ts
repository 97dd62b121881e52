// The handwritten digits with captions, "a handwritten four": text to image as in InstaFlow (Liu et al. 2024), from data to one step, in
// minutes. The latents are the pixels; the text network is trained along, with a vocabulary made of the ten captions.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'digits',
  data: { caption: 'a handwritten {class}' },
  model: { name: 'unet2d_condition', attn_resolutions: [4], heads: 4, text_width: 64, text_layers: 2, text_length: 8 },
  training: { n_iters: 600, snapshot_freq: 600, snapshot_freq_for_preemption: 300, eval_freq: 200 },
  // Both teachers are guided, as that of the distillation in InstaFlow is.
  chain: { reflow_iters: 300, distil_iters: 300, pairs: 4096, pair_guidance: 1.5 },
} satisfies ConfigFile;
