// Pairs (z0, z1) of a trained flow on CIFAR-10: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'cifar10_rf_gaussian_reflow_train',
  reflow: { reflow_type: 'generate_data_from_z0', reflow_t_schedule: 't0' },
} satisfies ConfigFile;
