// Which samplers go together with which options and sources.
import { ValueError } from '../errors.ts';
import type { SampledPathOptions } from './flows.ts';
import type { CheckedSettings } from './settings.ts';

/** @throws ValueError for options that do not go together, or noise where the source is not Gaussian */
export function checkSampler(options: SampledPathOptions, { from, given }: CheckedSettings): void {
  const { sampler = 'solver', interpolant = 'straight', solver = 'euler', reverse, noise } = options;
  const refuse = (what: string, why: string, mend: string) => {
    throw new ValueError(`[PlaneSession.paths] ${what} ${why}; ${mend}`);
  };
  const curved = interpolant !== 'straight';
  if ((sampler !== 'solver' || curved) && solver !== 'euler')
    refuse(
      `the solver "${solver}"`,
      `has no form for ${curved ? `the interpolant "${interpolant}"` : `the sampler "${sampler}"`}`,
      'use euler',
    );
  if ((sampler !== 'solver' || curved) && reverse)
    refuse('reverse', 'follows straight paths of a solver alone', 'leave out sampler and interpolant');
  if (sampler === 'sde' && curved)
    refuse('the sampler "sde"', `is for straight paths, got the interpolant "${interpolant}"`, 'leave out interpolant');
  const drawn = sampler === 'sde' || sampler === 'refresh';
  if (noise !== undefined && !drawn) refuse('noise', `has no effect on the sampler "${sampler}"`, 'leave it out');
  if (drawn && (given || from !== 'gaussian'))
    refuse(
      `the sampler "${sampler}"`,
      'draws new noise, which is that of the source "gaussian" alone',
      'set from to gaussian',
    );
}
