// Distils a flow on CIFAR-10 to one step: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'cifar10_rf_gaussian_reflow_train',
  reflow: { reflow_t_schedule: 't0', reflow_loss: 'lpips' },
} satisfies ConfigFile;
