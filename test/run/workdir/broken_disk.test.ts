// Failing writes: with any error at any call, a run ends with one clear error, saved files stay readable, and the same
// run resumes to bit-identical results. RECTIFLOW_TEST_FULL=1 fails at many more calls.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { full } from '../../support/devices.ts';
import { type Fault, faultEnvironment, faultVariables, noFaults } from '../../support/faults.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-broken-'));
afterAll(() => rmSync(root, { recursive: true }));

const tasks = ['train', 'official', 'shards'] as const;
type Task = (typeof tasks)[number];

interface Scenario extends Omit<Fault, 'path'> {
  task: Task;
}

interface Outcome {
  /** Name and message of the error. */
  error?: [string, string];
  /** Checkpoints that cannot be read after the failure. */
  unreadable: string[];
  /** Whether there was a checkpoint. */
  states: number;
  /** Error message of the resumed run; undefined if it was bit-identical to the undisturbed run. */
  differs?: string;
}

/** One process for all failures, because most of the time of a run is its start. */
const program = `
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDevice } from ${dist('index.js')};
import { generatePairs, loadCheckpoint, loadConfig, train } from ${dist('run/index.js')};

const [root, text] = process.argv.slice(1);
const config = (reflow) =>
  loadConfig('digits', {
    model: { nf: 8, num_res_blocks: 1 },
    training: {
      batch_size: 4, n_iters: 11, snapshot_freq: 8, snapshot_freq_for_preemption: 3, snapshot_sampling: false, eval_freq: 100,
    },
    reflow: { reflow_type: 'generate_data_from_z0', total_number_of_samples: 18, ...reflow },
    sampling: { use_ode_sampler: 'euler', sample_N: 2 },
  });
const device = await openDevice('cpu', { threads: 1 });

const work = async (task, workdir) => {
  if (task === 'train') return train(await config(), { workdir, device });
  const teacher = join(root, 'train-whole/checkpoints/checkpoint_1.safetensors');
  const settings = { last_flow_ckpt: teacher, data_root: workdir, pair_format: task };
  return generatePairs(await config(settings), { device, complete: 'keep' });
};

/** Contents of all files, by name; logs and manifests without times and paths. */
const digest = (folder) => {
  const found = {};
  for (const name of readdirSync(folder, { recursive: true }).sort()) {
    const path = join(folder, name);
    if (/tfevents|config.json|^run.json/.test(name) || !/[.]/.test(name)) continue;
    let bytes = readFileSync(path);
    if (name.endsWith('.safetensors')) bytes = bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
    if (/json/.test(name)) bytes = bytes.toString().replaceAll(folder, '').replace(/"images_per_s":[^,}]*/g, '');
    found[name] = createHash('sha256').update(bytes).digest('hex');
  }
  return JSON.stringify(found, null, 1);
};

const wholes = {};
for (const task of ${JSON.stringify(tasks)}) {
  await work(task, join(root, task + '-whole'));
  wholes[task] = digest(join(root, task + '-whole'));
}
const outcomes = [];
for (const [index, { task, variables }] of JSON.parse(text).entries()) {
  const workdir = join(root, 'run' + index);
  Object.assign(process.env, { ...variables, FAULT_PATH: workdir + '/', FAULT_RUN: String(index) });
  const outcome = { unreadable: [], states: 0 };
  await work(task, workdir).catch((error) => (outcome.error = [error.name, error.message]));
  delete process.env.FAULT_PATH;
  for (const name of task === 'train' ? readdirSync(workdir, { recursive: true }) : [])
    if (/(state|checkpoint)_\\d+[.]safetensors$/.test(name)) {
      outcome.states++;
      await loadCheckpoint(join(workdir, name)).catch(() => outcome.unreadable.push(name));
    }
  try {
    await work(task, workdir);
    const now = digest(workdir);
    if (now !== wholes[task]) outcome.differs = now + ' instead of ' + wholes[task];
  } catch (error) {
    outcome.differs = error.stack;
  }
  outcomes.push(outcome);
}
// Node warns about files that were not closed.
globalThis.gc();
await new Promise((resolve) => setTimeout(resolve, 50));
console.log(JSON.stringify(outcomes));
`;

function dist(name: string): string {
  return JSON.stringify(new URL(`../../../dist/${name}`, import.meta.url).href);
}

/** Every kind of failure, at early and late calls. */
function scenarios(): Scenario[] {
  const found: Scenario[] = [];
  for (const task of tasks)
    for (const [op, kind] of [
      ['write', 'EIO'],
      ['write', 'ENOSPC'],
      ['rename', 'EIO'],
      ['sync', 'EIO'],
    ] as const) {
      if (!full && task !== 'train' && kind === 'ENOSPC') continue;
      const few = { write: task === 'train' ? [3, 8] : [3], rename: [2], sync: [task === 'train' ? 6 : 3] }[op];
      const at = full ? Array.from({ length: op === 'write' ? 24 : 10 }, (_, i) => i + 1) : few;
      found.push(...at.map((call) => ({ task, op, kind, at: call })));
    }
  found.push(...tasks.map((task) => ({ task, op: 'write' as const, kind: 'short' as const, at: 1 })));
  return found;
}

describe('a disk that fails', () => {
  const all = scenarios();
  let outcomes: Outcome[];
  beforeEach((context) => {
    if (noFaults !== undefined) context.skip(noFaults);
  });
  beforeAll(() => {
    if (noFaults !== undefined) return;
    const variables = all.map(({ task, ...fault }) => ({ task, variables: faultVariables({ ...fault, path: '' }) }));
    const { stdout, stderr, status } = spawnSync(
      process.execPath,
      ['--expose-gc', '--input-type=module', '-e', program, root, JSON.stringify(variables)],
      { encoding: 'utf8', env: faultEnvironment(), timeout: 580_000, maxBuffer: 2 ** 27 },
    );
    expect([status, stderr]).toEqual([0, '']);
    outcomes = JSON.parse(stdout);
  }, 600_000);

  const named = (test: (outcome: Outcome, scenario: Scenario) => unknown) =>
    all.flatMap((scenario, i) => {
      const found = test(outcomes[i], scenario);
      return found === undefined || found === false ? [] : [{ ...scenario, found }];
    });

  it('ends the run with one line that names the file and the cause', () => {
    const messages = { EIO: /^\S+: the disk or network drive reports/, ENOSPC: /^\S+: disk full; free some space/ };
    const wrong = named(({ error }, { kind }) => {
      if (kind !== 'EIO' && kind !== 'ENOSPC') return error;
      // A call that does not happen, such as a twentieth rename, does not fail.
      return error && !(error[0] === 'FileError' && messages[kind].test(error[1]) && !error[1].includes('\n')) && error;
    });
    expect(wrong).toEqual([]);
    expect(named(({ error }) => error !== undefined).length).toBeGreaterThan(all.length / 2);
  });

  it('leaves every existing checkpoint readable', () => {
    expect(named(({ unreadable }) => unreadable.length > 0 && unreadable)).toEqual([]);
    expect(named(({ states, error }) => error !== undefined && states > 0).length).toBeGreaterThan(0);
  });

  it('does not prevent the run from resuming to bit-identical results', () => {
    expect(named(({ differs }) => differs)).toEqual([]);
  });
});
