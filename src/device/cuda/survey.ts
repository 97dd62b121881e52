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
  const driver = examined(() => {
    const opened = openDriver();
    cards = Array.from({ length: opened.cards }, (_, i) => opened.card(i));
    served = opened.version;
    return `CUDA ${opened.version}, ${cards.length} card(s)`;
  });
  const nvrtc = examined(() => {
    compiler = openNvrtc();
    if (served !== undefined) checkVersions(served, compiler.version);
    return `${compiler.version}, for sm_${compiler.architectures.join(', sm_')}`;
  });
  return { driver, nvrtc, cards: cards.map((card) => examined(() => described(card, compiler))) };
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

function described(card: Card, nvrtc: Nvrtc | undefined): string {
  const text = `${card.name}, ${(card.memory / 2 ** 30).toFixed(1)} GiB, sm_${card.architecture}`;
  return nvrtc ? `${text}; kernels for ${chooseTarget(card, nvrtc).name}` : text;
}

function examined(look: () => string): CudaPart {
  try {
    return { works: true, text: look() };
  } catch (error) {
    return { works: false, text: (error as Error).message };
  }
}
