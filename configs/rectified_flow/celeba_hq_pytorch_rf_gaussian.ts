// 1-rectified flow on CelebA-HQ, 256 x 256: the official configuration of the same name.
import type { ConfigFile } from 'rectiflow/run';

export default {
  base: 'base_256',
  data: { dataset: 'CelebA-HQ-Pytorch', centered: true },
} satisfies ConfigFile;
