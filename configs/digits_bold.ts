// Domain transfer with a known answer: the first half of the handwritten digits becomes bold, learned from unpaired digits of the other half.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'digits',
  data: { half: 'second', change: 'bold' },
  source: { dataset: 'DIGITS', half: 'first', random_flip: false },
  // Pairs at random keep the class of few digits.
  training: { batch_size: 64, neighbours: 2 },
  // Few images: the noise keeps the network from learning each of them by heart.
  sampling: { init_type: 'data', smooth_source: 0.05 },
  chain: { distil_steps: 0 },
  eval: { num_samples: 198, batch_size: 198 },
} satisfies ConfigFile;
