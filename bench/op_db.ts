// Compares our ops with PyTorch's own operator database: values and gradients of its float32 samples.
// Run: npm run bench:op-db [-- --json FILE] [NAME...]   (needs PyTorch: RECTIFLOW_TORCH_PYTHON names its Python)
// The names of the database are mapped to our functions in op_db/mapping.ts; bench/results/op-db.json is its summary.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromEnvironment } from '../src/device/environment.ts';
import { openDevice } from '../src/index.ts';
import { compareSamples, readSamples, type Summary } from './op_db/compare.ts';
import { mapping } from './op_db/mapping.ts';

const words = process.argv.slice(2);
const at = words.indexOf('--json');
const json = at < 0 ? undefined : words.splice(at, 2)[1];
const unknown = words.filter((name) => !(name in mapping));
if (unknown.length > 0 || (at >= 0 && json === undefined)) {
  console.error(
    unknown.length > 0
      ? `op_db: no mapping for ${unknown.join(', ')}; see bench/op_db/mapping.ts`
      : 'op_db: --json needs a file',
  );
  process.exit(2);
}
const names = words.length > 0 ? words : Object.keys(mapping);

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-op-db-'));
try {
  const script = fileURLToPath(new URL('pytorch/op_db.py', import.meta.url));
  const python = fromEnvironment('RECTIFLOW_TORCH_PYTHON') ?? 'python3';
  const { status, error } = spawnSync(python, ['-W', 'ignore', script, folder, ...names], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0) throw new Error(`${python} wrote no samples${error ? `: ${error.message}` : ''}`);
  const device = await openDevice('cpu');
  const samples = readSamples(folder);
  const summary = await compareSamples(samples, device);
  print(summary);
  if (json !== undefined) writeFileSync(json, `${JSON.stringify(summary, undefined, 1)}\n`);
  process.exitCode = summary.failures.length > 0 ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function print({ torch, ops, failures, total, passed, differing }: Summary): void {
  for (const { op, passed: good, samples, semantics } of ops)
    console.log(`${op.padEnd(46)} ${good}/${samples}${semantics.length > 0 ? `  ${semantics.join('; ')}` : ''}`);
  for (const failure of failures) console.log(`FAILED ${failure}`);
  console.log(
    `PyTorch ${torch}: ${passed} of ${total} samples of ${ops.length} operators agree, ${differing} differ by documented ` +
      `semantics, ${failures.length} fail`,
  );
}
