// One writer at any time: a process is suspended right before it writes, its folder is taken over, and it is continued
// while the other process works. It ends, and the results of the other are bit-identical to those of an undisturbed
// run.
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Device } from '../../../src/device/device.ts';
import { generatePairs, train } from '../../../src/run/index.ts';
import { lockTiming } from '../../../src/run/workdir/lock.ts';
import { configWith } from '../../support/config.ts';
import { full, openTestDevice } from '../../support/devices.ts';
import { type Fault, faultEnvironment, noFaults } from '../../support/faults.ts';

const root = mkdtempSync(join(tmpdir(), 'rectiflow-stopped-'));
const usual = { ...lockTiming };
const children: ChildProcess[] = [];
afterAll(() => {
  Object.assign(lockTiming, usual);
  for (const child of children) child.kill('SIGKILL');
  rmSync(root, { recursive: true });
});

const values = {
  'model.nf': 8,
  'model.num_res_blocks': 1,
  'training.batch_size': 4,
  'training.n_iters': 14,
  'training.snapshot_freq': 8,
  'training.snapshot_freq_for_preemption': 3,
  'training.snapshot_sampling': false,
  'training.eval_freq': 100,
  'reflow.reflow_type': 'generate_data_from_z0',
  'reflow.total_number_of_samples': 30,
  'sampling.use_ode_sampler': 'euler',
  'sampling.sample_N': 2,
};
type Task = 'train' | 'official' | 'shards';

const config = (task: Task, workdir: string) =>
  configWith('digits', {
    ...values,
    ...(task !== 'train' && {
      'reflow.last_flow_ckpt': join(root, 'train-whole/checkpoints/checkpoint_1.safetensors'),
      'reflow.data_root': workdir,
      'reflow.pair_format': task,
    }),
  });

let device: Device;
/** @param during called after each step or batch */
async function work(task: Task, workdir: string, notices: string[], during: (done: number) => void): Promise<unknown> {
  const options = { device, onNotice: (text: string) => notices.push(text) };
  const settings = await config(task, workdir);
  if (task === 'train') return train(settings, { ...options, workdir, onStep: ({ step }) => during(step + 1) });
  return generatePairs(settings, { ...options, onProgress: during });
}

/** All files except event files, of which each session has its own; without times and the name of the folder. */
function digest(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    files.flatMap((name) => {
      // The record of the sessions holds times.
      if (name === 'run.json' || name.includes('tensorboard') || !/\.\w+$/.test(name)) return [];
      let bytes = readFileSync(join(folder, name));
      if (name.endsWith('.safetensors')) bytes = bytes.subarray(8 + Number(bytes.readBigUInt64LE(0)));
      const text = bytes
        .toString('latin1')
        .replaceAll(folder, '')
        .replace(/"images_per_s":[^,}]*/g, '');
      return [[name, createHash('sha256').update(text).digest('hex')]];
    }),
  );
}

/** Runs the same task in a separate process. */
const dist = (name: string) => JSON.stringify(new URL(`../../../dist/${name}`, import.meta.url).href);
const program = `
  import { openDevice } from ${dist('index.js')};
  import { generatePairs, resolveConfig, train } from ${dist('run/index.js')};
  const [task, workdir, text] = process.argv.slice(1);
  const device = await openDevice('cpu', { threads: 1 });
  const config = await resolveConfig(JSON.parse(text), 'a test');
  try {
    await (task === 'train' ? train(config, { workdir, device }) : generatePairs(config, { device }));
    console.log('done');
  } catch (error) {
    console.log(error.name + ': ' + error.message);
  }`;

/** State of a process: "T" if it is suspended, "Z" if it is a zombie; undefined if it does not exist. */
function stateOf(pid: number): string | undefined {
  try {
    return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

const wholes: Record<string, Record<string, string>> = {};
beforeEach((context) => {
  if (noFaults !== undefined) context.skip(noFaults);
});
beforeAll(async () => {
  if (noFaults !== undefined) return;
  device = await openTestDevice('cpu');
  for (const task of ['train', 'official', 'shards'] as const) {
    const workdir = join(root, `${task}-whole`);
    await work(task, workdir, [], () => {});
    wholes[task] = digest(workdir);
  }
  Object.assign(lockTiming, { silence: 200, look: 20 });
}, 120_000);

const moments: [Task, string, Omit<Fault, 'path' | 'kind'>][] = [
  ['train', 'a state gets its name', { op: 'rename', at: 3 }],
  ['train', 'it adds to the log', { op: 'write', at: 9 }],
  ['official', 'it adds to the pairs or their journal', { op: 'write', at: 12 }],
  ['shards', 'a shard gets its name', { op: 'rename', at: 5 }],
  ['shards', 'it adds to the journal', { op: 'write', at: 14 }],
];
/** Excludes the last calls, after which the other process would have nothing left to do. */
const more: typeof moments = (['train', 'official', 'shards'] as const).flatMap((task) =>
  (['rename', 'write', 'sync'] as const).flatMap((op) => {
    const calls = op !== 'rename' || task === 'shards' ? [2, 4, 6, 8, 10] : task === 'train' ? [2, 4, 5] : [1, 2];
    return calls.map((at): (typeof moments)[number] => [task, `${op} ${at}`, { op, at }]);
  }),
);

describe('a process that is suspended, replaced and continued', { timeout: 120_000 }, () => {
  it.each(full ? [...moments, ...more] : moments)('%s, suspended at: %s', async (task, moment, fault) => {
    const workdir = join(root, `${task}-${moment.replaceAll(' ', '-')}`);
    const folder = task === 'train' ? workdir : join(workdir, '42');
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', program, task, workdir, JSON.stringify(await config(task, workdir))],
      { env: faultEnvironment({ ...fault, kind: 'stop', path: `${folder}/` }), stdio: ['ignore', 'pipe', 'inherit'] },
    );
    children.push(child);
    let output = '';
    child.stdout.on('data', (text) => (output += text));
    const ended = new Promise((resolve) => child.on('close', resolve));
    const pid = child.pid as number;
    for (let state = stateOf(pid); state !== 'T'; state = stateOf(pid)) {
      expect(state).toMatch(/^[^ZX]$/);
      await sleep(5);
    }
    // The other process takes it for a process on another machine.
    const lock = readFileSync(join(folder, 'lock'), 'utf8');
    writeFileSync(
      join(folder, 'lock'),
      lock.replace(/^\S+/, 'elsewhere').replace(/ \S+ \S+ (\S+)\n/, ' another-boot 1 $1\n'),
    );
    const notices: string[] = [];
    let continued = false;
    await work(task, workdir, notices, () => {
      if (continued) return;
      continued = true;
      child.kill('SIGCONT');
      // This loop does not write, so the suspended process is the only writer.
      while (/^[^ZX]$/.test(stateOf(pid) ?? 'Z')) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    });
    expect(notices[0]).toBe(`waiting up to 0.2 s for the lock of process ${pid} on elsewhere (${folder}/lock)`);
    await ended;
    expect(output).toBe(
      `LockLostError: ${folder}/lock: process ${process.pid} on ${lock.split(' ')[0]} took over the lock while this process was suspended; ` +
        'this process stops, saved files stay\n',
    );
    expect(digest(workdir)).toEqual(wholes[task]);
  });
});
