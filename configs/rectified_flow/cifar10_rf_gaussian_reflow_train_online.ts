// 2-rectified flow on CIFAR-10 from pairs that the teacher makes in each step: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'cifar10_rf_gaussian_reflow_train',
  reflow: { reflow_type: 'train_online_reflow' },
} satisfies ConfigFile;
