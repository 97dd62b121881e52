// 1-rectified flow on LSUN bedroom, 256 x 256, in [0, 1]: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'base_256',
  data: { category: 'bedroom' },
} satisfies ConfigFile;
