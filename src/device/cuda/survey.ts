// What this machine has of CUDA, for `doctor`: driver, compiler, cards, each with what it is or why it does not serve.
import { type Card, openDriver } from '../native/libcuda.ts';
import { type Nvrtc, openNvrtc } from '../native/libnvrtc.ts';
import { chooseTarget } from './architecture.ts';

export interface CudaPart {
  works: boolean;
  text: string;
}

export function surveyCuda(): { driver: CudaPart; nvrtc: CudaPart; cards: CudaPart[] } {
  let cards: Card[] = [];
  let compiler: Nvrtc | undefined;
  const driver = examined(() => {
    const opened = openDriver();
    cards = Array.from({ length: opened.cards }, (_, i) => opened.card(i));
    return `CUDA ${opened.version}, ${cards.length} card(s)`;
  });
  const nvrtc = examined(() => {
    compiler = openNvrtc();
    return `${compiler.version}, for sm_${compiler.architectures.join(', sm_')}`;
  });
  return { driver, nvrtc, cards: cards.map((card) => examined(() => described(card, compiler))) };
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
