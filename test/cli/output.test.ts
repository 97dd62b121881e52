// Commands whose output cannot be written: progress is dropped, work continues, and exit codes are correct.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { faultEnvironment, noFaults } from '../support/faults.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-output-'));
afterAll(() => rmSync(folder, { recursive: true }));

const command = `'${process.execPath}' '${fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url))}'`;

/** The exit code of the command itself, not that of the pipe. */
function run(words: string, redirection: string) {
  const script = `set -o pipefail; { ${command} ${words}; echo $? > status; } ${redirection}; cat status`;
  const { stdout } = spawnSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8' });
  return Number(stdout.trim().split('\n').at(-1));
}

const train = (workdir: string) =>
  `train --config digits --device cpu --config.model.nf 8 --config.training.batch_size 4 --config.training.n_iters 20 ` +
  `--config.training.snapshot_freq 10 --config.training.snapshot_sampling=false --workdir ${workdir}`;

describe.runIf(existsSync('/dev/full'))('training', () => {
  it.each([
    ['continues if nobody reads its progress', 'reader', '2>&1 | head -c 1'],
    ['continues if the disk for its progress is full', 'full', '2>/dev/full'],
    ['continues without standard error', 'closed', '2>&-'],
  ])('%s', (_, workdir, redirection) => {
    expect(run(train(workdir), redirection)).toBe(0);
    expect(readdirSync(join(folder, workdir, 'checkpoints')).sort()).toContain('checkpoint_2.safetensors');
  });
});

it.skipIf(noFaults)('a disk for compiled kernels that fills up is named as one, without a stack', () => {
  const cache = join(folder, 'compiled');
  const env = {
    ...faultEnvironment({ path: join(cache, 'conv'), op: 'write', kind: 'ENOSPC', at: 1 }),
    RECTIFLOW_CACHE: cache,
  };
  const script = `${command} ${train('without_cache')}`;
  const { status, stderr } = spawnSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8', env });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^rectiflow: .*disk full; free some space and try again$/m);
  expect(stderr).not.toMatch(/^ {4}at /m);
});

describe.runIf(existsSync('/dev/full'))('results', () => {
  it('that do not fit on the disk are a failure', () => {
    expect(run('inspect --config digits', '>/dev/full 2>error')).toBe(1);
  });

  it('that nobody reads are not a failure', () => {
    expect(run('inspect --config digits', '| true')).toBe(0);
  });
});
