// Progress of pictures of texts, in hundredths of all work: parts count by what they have to compute.

import type { SolverName } from '../flow/sample.ts';
import { evaluationsAStep } from '../flow/solvers.ts';
import { pictureWork, type Work } from '../run/text/costs.ts';
import type { TextToImageProgress } from '../run/text/generate_options.ts';
import type { TextToImageSummary } from '../run/text/survey.ts';
import { startProgress } from './progress.ts';

interface Request {
  size: readonly [height: number, width: number];
  tile?: number;
  guidance: number;
  sampler: SolverName;
  steps?: number;
  /** All pictures. */
  count: number;
}

/** Evaluations by which the share of rk45 is guessed; it stops when it is done. */
const RK45_EVALUATIONS = 60;

const all = ({ convolution, linear, attention }: Work) => convolution + linear + attention;

export function textProgress(
  { networks }: TextToImageSummary,
  { sampler, steps = 1, count, ...request }: Request,
): { update(progress: TextToImageProgress): void; stop(): void } {
  const work = pictureWork(networks, request);
  const evaluations = sampler === 'rk45' ? RK45_EVALUATIONS : steps * evaluationsAStep(sampler);
  const [text, flow, decoding] = [all(work.text), evaluations * all(work.network), all(work.decoding)];
  const whole = text + flow + decoding;
  const progress = startProgress('pictures %', 100);
  return {
    update({ stage, first, done, of }) {
      const before = { text: 0, network: text, decoding: text + flow }[stage];
      const own = { text, network: flow, decoding }[stage];
      const share = (first + (before + (own * done) / of) / whole) / count;
      const picture = count === 1 ? '' : `picture ${first + 1} of ${count}  `;
      progress.update(Math.min(100, Math.round(100 * share)), picture + describe(stage, done / of));
    },
    stop: () => progress.stop(),
  };

  function describe(stage: TextToImageProgress['stage'], share: number): string {
    if (stage === 'text') return 'text read';
    if (stage === 'decoding') return share < 1 ? 'decoding' : 'decoded';
    return sampler === 'rk45' ? `t ${share.toFixed(3)}` : `step ${Math.round(share * steps)} of ${steps}`;
  }
}
