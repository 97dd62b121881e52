// The options of commands that solve the ODE of a checkpoint: which solver, and how many steps or which tolerance.
import { UsageError } from '../errors.ts';
import { solverNames } from '../flow/index.ts';
import type { Config } from '../run/config/schema.ts';
import type { Option, Parsed } from './arguments.ts';

/** How the ODE is solved, in place of what the configuration says. */
export const solverOptions: Record<string, Option> = {
  sampler: {
    value: 'NAME',
    help: `${solverNames.join(' | ')}; default: sampling.use_ode_sampler`,
    key: 'sampling.use_ode_sampler',
  },
  steps: {
    value: 'N',
    help: 'steps of the fixed-step samplers; default: sampling.sample_N',
    key: 'sampling.sample_N',
  },
  tol: { value: 'T', help: 'tolerance of rk45; default: sampling.ode_tol', key: 'sampling.ode_tol' },
};

/** Reads them; the solver becomes an override, because the configuration of the checkpoint is read later. */
export function readSolver(parsed: Parsed): { steps?: number; tolerance?: number } {
  const named = parsed.oneOf('sampler', solverNames);
  if (named !== undefined) parsed.overrides.push({ path: ['sampling', 'use_ode_sampler'], text: named });
  return { steps: parsed.whole('steps', 1), tolerance: parsed.positive('tol') };
}

/** @throws UsageError for steps of rk45, and for a tolerance of any other solver */
export function checkSolver(parsed: Parsed, { sampling: { use_ode_sampler: solver } }: Config): void {
  const [inert, instead] = solver === 'rk45' ? ['steps', 'tol'] : ['tol', 'steps'];
  if (parsed.has(inert))
    throw new UsageError(
      `--${inert} has no effect with the sampler ${solver}; give --${instead}, or another --sampler`,
    );
}
