// Chooses the compilation target: the card's own architecture if NVRTC knows it, else PTX of the nearest older one, which the driver
// translates.
import { DeviceError } from '../../errors.ts';
import type { Card } from '../native/libcuda.ts';
import type { Nvrtc } from '../native/libnvrtc.ts';

/** Ampere, the first architecture with asynchronous copies and with bf16 and tf32 matrix instructions. */
const OLDEST = 80;
/** The architecture whose special kernels are built for that target alone. */
export const HOPPER = 'sm_90a';
/** Architectures with instructions that their successors lack. */
const SPECIFIC = new Set([90]);

export interface Target {
  /** For --gpu-architecture: sm_80, sm_90a, compute_90. */
  readonly name: string;
  readonly binary: 'cubin' | 'ptx';
}

/** @throws DeviceError for a card that is too old, or an NVRTC that knows no architecture the card can run */
export function chooseTarget(card: Card, nvrtc: Pick<Nvrtc, 'architectures' | 'version'>): Target {
  const { architecture, name } = card;
  if (architecture < OLDEST)
    throw new DeviceError(
      `device cuda:${card.index} (${name}) is sm_${architecture}; kernels need sm_${OLDEST} (Ampere) or later`,
    );
  if (nvrtc.architectures.includes(architecture))
    return { name: `sm_${architecture}${SPECIFIC.has(architecture) ? 'a' : ''}`, binary: 'cubin' };
  const older = nvrtc.architectures.filter((known) => known >= OLDEST && known < architecture);
  if (older.length === 0)
    throw new DeviceError(
      `NVRTC ${nvrtc.version} compiles for sm_${nvrtc.architectures.join(', sm_')}, none of which device ` +
        `cuda:${card.index} (${name}, sm_${architecture}) can run; name another by LIBNVRTC_PATH`,
    );
  return { name: `compute_${older[older.length - 1]}`, binary: 'ptx' };
}
