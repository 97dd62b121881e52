// npm run bench:fid [-- --columns N] [--rows N] [--repeats N] [--json FILE]
// The Frechet distance at the size of Inception's features: its covariance, and the distance with eigenvalues by LAPACK and by
// our own solver, timed separately. The solvers take turns, so that a noisy machine affects both. The
// script writes bench/results/fid.json; without --json nothing is written.
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import {
  type EigenSolver,
  type FeatureRows,
  frechetDistance,
  gaussianOf,
  lapackEigenSolver,
  ownEigenSolver,
} from '../src/eval/index.ts';
import { provenance } from '../src/run/machine/provenance.ts';
import { normalRows } from '../test/eval/features.ts';

const { values: flags } = parseArgs({
  options: {
    columns: { type: 'string', default: '2048' },
    rows: { type: 'string', default: '4096' },
    repeats: { type: 'string', default: '3' },
    json: { type: 'string' },
  },
});
const [columns, rows, repeats] = [flags.columns, flags.rows, flags.repeats].map(Number);

/** Seconds, in the order of measurement. */
const samples: Record<string, number[]> = {};
const timed = <T>(what: string, work: () => T): T => {
  const start = performance.now();
  const result = work();
  samples[what] ??= [];
  samples[what].push((performance.now() - start) / 1000);
  console.log(`${what}: ${samples[what].at(-1)?.toFixed(2)} s`);
  return result;
};

const [real, fake] = ['real', 'fake'].map((seed, i) => decaying(normalRows(rows, columns, seed, i / 10)));
const [a, b] = [real, fake].map((features) => timed(`covariance of ${rows} rows`, () => gaussianOf(features)));
const distances = new Map<string, number>();
for (let repeat = 0; repeat < repeats; repeat++)
  for (const solver of [ownEigenSolver, ...lapack()]) {
    let eigenSeconds = 0;
    const watched: EigenSolver = {
      name: solver.name,
      eigenvalues(matrix, n) {
        const start = performance.now();
        const found = solver.eigenvalues(matrix, n);
        eigenSeconds += (performance.now() - start) / 1000;
        return found;
      },
    };
    const what = `distance, eigenvalues by ${solver.name}`;
    distances.set(
      solver.name,
      timed(what, () => frechetDistance(a, b, { solver: watched })),
    );
    samples[`eigenvalues by ${solver.name}`] ??= [];
    samples[`eigenvalues by ${solver.name}`].push(eigenSeconds);
  }

for (const [what, seconds] of Object.entries(samples))
  console.log(`${what.padEnd(36)} best of ${seconds.length}: ${Math.min(...seconds).toFixed(2)} s`);
const [own, other = own] = [...distances.values()];
console.log(`distance ${own.toFixed(6)}, between the solvers ${Math.abs(other / own - 1).toExponential(1)} of it`);
if (flags.json) {
  const about = {
    ...provenance(),
    created: new Date().toISOString(),
    command: ['npm run bench:fid --', ...process.argv.slice(2)].join(' '),
    cpu: cpus()[0]?.model,
    threads: cpus().length,
    node: process.version,
  };
  const distance = Object.fromEntries(distances);
  writeFileSync(flags.json, `${JSON.stringify({ ...about, columns, rows, distance, seconds: samples }, null, 1)}\n`);
}

/** Standard deviations from 1 to 1/1000: as in real features, a few directions dominate. */
function decaying(features: FeatureRows): FeatureRows {
  const values = features.values.map((value, i) => value * 10 ** ((-3 * (i % features.columns)) / features.columns));
  return { ...features, values };
}

function lapack(): EigenSolver[] {
  try {
    return [lapackEigenSolver()];
  } catch (error) {
    console.log(`left out: ${(error as Error).message}`);
    return [];
  }
}
