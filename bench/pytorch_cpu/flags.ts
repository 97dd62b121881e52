// The flags of npm run bench:pytorch.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';

export const HELP = `npm run bench:pytorch -- [options]
  --only TEXT     only what has TEXT in its name: train, sample, small, layer, others, scaling, profile, "conv 3x3", ...;
                  text (network and decoder of InstaFlow's size; 2.1 GB in bench/.text, 14 GB of memory) only if named
  --rounds N      turns of each side; default 7
  --threads N     of both sides; default: what the system grants
  --python PATH   a Python with torch and numpy; default RECTIFLOW_TORCH_PYTHON, else bench/.venv, which is made
  --json FILE     default bench/results/pytorch-cpu.json; with --only or --small nothing is written unless told
  --small         tiny networks: only to see that it runs
`;

export interface BenchOptions {
  only: string;
  rounds: number;
  threads: number;
  python: string | undefined;
  json: string | undefined;
  small: boolean;
}

/** @throws Error naming the flag that is wrong */
export function parseFlags(args: string[]): BenchOptions | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args,
    options: {
      only: text,
      rounds: text,
      threads: text,
      python: text,
      json: text,
      small: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help) return 'help';
  const { only = '', python, small } = values;
  const whole = (name: 'rounds' | 'threads', otherwise: number) => {
    const value = Number(values[name] ?? otherwise);
    if (Number.isInteger(value) && value >= 1) return value;
    throw new Error(`--${name} takes a whole number from 1 on, got ${values[name]}`);
  };
  const complete = only === '' && !small;
  return {
    only,
    rounds: whole('rounds', 7),
    threads: whole('threads', availableParallelism()),
    python,
    json: values.json ?? (complete ? 'bench/results/pytorch-cpu.json' : undefined),
    small,
  };
}
