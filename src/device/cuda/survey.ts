// Reports the machine's CUDA driver, compiler and cards for `doctor`, each with a description or the reason why it cannot be used.
import { DeviceError } from '../../errors.ts';
import { type Card, openDriver } from '../native/libcuda.ts';
import { type Nvrtc, openNvrtc } from '../native/libnvrtc.ts';
import { chooseTarget } from './architecture.ts';

export interface CudaPart {
  works: boolean;
  text: string;
}

export function surveyCuda(): { driver: CudaPart; nvrtc: CudaPart; cards: CudaPart[] } {
  let cards: Card[] = [];
  let served: string | undefined;
  let compiler: Nvrtc | undefined;
  const driver = examine(() => {
    const opened = openDriver();
    cards = Array.from({ length: opened.cards }, (_, i) => opened.card(i));
    served = opened.version;
    return `CUDA ${opened.version}, ${cards.length} card(s)`;
  });
  const nvrtc = examine(() => {
    compiler = openNvrtc();
    if (served !== undefined) checkVersions(served, compiler.version);
    return `${compiler.version}, for sm_${compiler.architectures.join(', sm_')}`;
  });
  return { driver, nvrtc, cards: cards.map((card) => examine(() => describe(card, compiler))) };
}

/**
 * A driver loads images from an NVRTC of the same or an older major version.
 * @throws DeviceError if the compiler is newer
 */
export function checkVersions(driver: string, nvrtc: string): void {
  const major = (version: string) => Number(version.split('.')[0]);
  if (major(nvrtc) > major(driver))
    throw new DeviceError(
      `NVRTC ${nvrtc} is newer than the driver, which serves CUDA ${driver}: update the driver, or name an NVRTC of CUDA ` +
        `${major(driver)} by LIBNVRTC_PATH`,
    );
}

function describe(card: Card, nvrtc: Nvrtc | undefined): string {
  const text = `${card.name}, ${(card.memory / 2 ** 30).toFixed(1)} GiB, sm_${card.architecture}`;
  return nvrtc ? `${text}; kernels for ${chooseTarget(card, nvrtc).name}` : text;
}

function examine(look: () => string): CudaPart {
  try {
    return { works: true, text: look() };
  } catch (error) {
    return { works: false, text: (error as Error).message };
  }
}
