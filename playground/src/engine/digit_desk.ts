// The part of the worker that answers requests for digits. An answer comes for each generator as soon as it is there, and a request that
// a later one of the same place replaces is not computed to its end.
import type { Device } from 'rectiflow';
import { type DigitFlow, digitFlows, invertible } from '../model/digits.ts';
import { Digits } from './digits.ts';
import type { DigitAnswer, DigitRequest, Request } from './messages.ts';

export class DigitDesk {
  private readonly post: (answer: DigitAnswer) => void;
  private digits: Digits | undefined;
  /** The last request of each place. */
  private readonly latest = new Map<string, number>();

  constructor(post: (answer: DigitAnswer) => void) {
    this.post = post;
  }

  static takes(request: Request): request is DigitRequest {
    return request.kind.startsWith('digits ');
  }

  /** Notes a request when it arrives, before those that wait are answered. */
  hear(request: Request): void {
    if (request.kind === 'digits carry') this.latest.set(request.place, request.ask);
    if (request.kind === 'digits invert') this.latest.set('own', request.ask);
  }

  async answer(request: DigitRequest, device: Device): Promise<void> {
    if (request.kind === 'digits open') {
      this.digits?.dispose();
      const packed = Uint8Array.from(atob(request.text), (one) => one.charCodeAt(0));
      const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
      this.digits = new Digits(new Uint8Array(await new Response(stream).arrayBuffer()), device);
      return this.post({ kind: 'digits opened' });
    }
    const { digits } = this;
    if (!digits) return;
    if (request.kind === 'digits noise') {
      const { seed, first, count } = request;
      return this.post({ kind: 'digits noise', first, noise: digits.noise(seed, first, count) });
    }
    const { ask } = request;
    if (request.kind === 'digits invert')
      return this.each(invertible, 'own', ask, async (flow) => {
        this.post({ kind: 'digits inverse', ask, flow, ...(await digits.invert(flow, request.image)) });
      });
    const { place, latents, steps } = request;
    return this.each(digitFlows, place, ask, async (flow) => {
      const start = performance.now();
      const images = await digits.carry(flow, latents, steps);
      const milliseconds = performance.now() - start;
      this.post({ kind: 'digits images', ask, place, flow, images, steps, milliseconds });
    });
  }

  /** Works for one flow after the other, unless a later request has come. */
  private async each(
    flows: readonly DigitFlow[],
    place: string,
    ask: number,
    work: (flow: DigitFlow) => Promise<void>,
  ): Promise<void> {
    for (const flow of flows) {
      // Lets messages arrive.
      await new Promise((resolve) => setTimeout(resolve));
      if (this.latest.get(place) !== ask) return;
      await work(flow);
    }
  }
}
