// 2-rectified flow on CIFAR-10 from pairs of the 1-rectified flow: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  data: { centered: true },
  model: { embedding_type: 'positional' },
  training: { snapshot_freq: 20_000 },
} satisfies ConfigFile;
