// Progress of pictures of texts, in hundredths of all work.
import type { SolverName } from '../flow/index.ts';
import { shareOf } from '../run/text/costs.ts';
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

export function textProgress({ networks, factor }: TextToImageSummary, request: Request) {
  const { sampler, steps = 1, count, tile } = request;
  const share = shareOf(networks, { ...request, tile: tile === undefined ? undefined : tile / factor });
  const progress = startProgress('pictures %', 100);
  const describe = ({ stage, done, of }: TextToImageProgress): string => {
    if (stage === 'text') return 'text read';
    if (stage === 'decoding') return done < of ? 'decoding' : 'decoded';
    return sampler === 'rk45' ? `t ${(done / of).toFixed(3)}` : `step ${Math.round((done / of) * steps)} of ${steps}`;
  };
  return {
    update(now: TextToImageProgress): void {
      const picture = count === 1 ? '' : `picture ${now.first + 1} of ${count}  `;
      progress.update(Math.round(100 * share(now)), picture + describe(now));
    },
    stop: () => progress.stop(),
  };
}
