// 1-rectified flow on LSUN church, 256 x 256, in [0, 1]: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'base_256',
  data: { category: 'church_outdoor' },
  model: { sigma_max: 380 },
} satisfies ConfigFile;
