// Ctrl-C and SIGTERM end every long-running command cleanly. RECTIFLOW_TEST_FULL=1 interrupts each at ten random
// moments in its first seconds, including its start.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadCheckpoint, train } from '../../src/run/index.ts';
import { configWith } from '../support/config.ts';
import { full, openTestDevice } from '../support/devices.ts';

const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-interrupt-'));
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});
const checkpoint = join(folder, 'run/checkpoints/checkpoint_0.safetensors');

beforeAll(async () => {
  const config = await configWith('digits', {
    'model.nf': 8,
    'training.batch_size': 8,
    'training.n_iters': 2,
    'training.snapshot_sampling': false,
  });
  await train(config, { workdir: join(folder, 'run'), device: await openTestDevice('cpu') });
}, 60_000);

const digits = '--config digits --device cpu --config.model.nf 8 --config.training.batch_size 8';
const endless = `${digits} --config.training.n_iters 1000000`;
const teacher = `--config.reflow.last_flow_ckpt ${checkpoint}`;

/** By name: a command that would run for hours, and the beginning of its progress. W stands for a new folder. */
const commands: Record<string, [line: string, progress: RegExp]> = {
  train: [`train ${endless} --workdir W`, /^train \d+\//m],
  'train, in its pictures': [
    `train ${endless} --workdir W --config.training.snapshot_freq 2 --config.sampling.sample_N 1000000 --config.sampling.use_ode_sampler euler`,
    /^train \d+\//m,
  ],
  pairs: [
    `reflow ${digits} --workdir W ${teacher} --config.reflow.reflow_type generate_data_from_z0 --config.reflow.data_root W/pairs --config.reflow.total_number_of_samples 1000000`,
    /^pairs \d+\//m,
  ],
  'online reflow': [
    `reflow ${endless} --workdir W ${teacher} --config.reflow.reflow_type train_online_reflow`,
    /^train \d+\//m,
  ],
  sample: [`sample --checkpoint ${checkpoint} --sampler euler --steps 1000000 --out W/x.png`, /^sample \d+\//m],
  'sample of one endless step after another': [
    `sample --checkpoint ${checkpoint} --sampler rk45 --tol 1e-12 --num 4096 --out W/x.npy`,
    /^sample \d+\//m,
  ],
  eval: [
    `eval ${digits} --workdir ${folder}/run --config.eval.begin_ckpt 0 --config.eval.end_ckpt 0 --config.eval.enable_bpd`,
    /bits per dimension \d+\//,
  ],
  'eval of samples': [
    `eval ${digits} --workdir ${folder}/run --config.eval.folder other --config.eval.begin_ckpt 0 --config.eval.end_ckpt 0 --config.eval.enable_sampling --config.eval.features pixels --config.eval.num_samples 1000000`,
    /samples \d+\//,
  ],
  classifier: ['classifier --config digits --steps 1000000 --out W/c.safetensors', /^train \d+\//m],
  report: [
    `report --workdir ${folder}/run --budget 1000000 --config.eval.num_samples 1000000 --config.eval.features pixels`,
    /^samples: .* \d+\//m,
  ],
  chain: [`chain ${endless} --config.chain.classifier=false --workdir W`, /^train \d+\//m],
  toy: ['toy --steps 1000000 --out W/t.html', /^1-rectified flow \d+\//m],
  tune: ['tune --out W/t.json', /^tune \d+\//m],
};

let runs = 0;

function start(line: string): {
  child: ChildProcess;
  said: () => string;
  until: (pattern: RegExp) => Promise<void>;
  ended: Promise<number | NodeJS.Signals | null>;
  workdir: string;
} {
  const workdir = join(folder, `w${runs++}`);
  mkdirSync(workdir);
  const words = line.replaceAll(/\bW\b/g, workdir).split(' ');
  const child = spawn(process.execPath, [bin, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  let text = '';
  let check = () => {};
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece) => {
      text += piece;
      check();
    });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.on('close', (code, signal) => resolve(signal ?? code));
  });
  const until = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      check = () => pattern.test(text) && resolve();
      check();
      ended.then(() => reject(new Error(`ended before ${pattern}: ${text}`)));
    });
  return { child, said: () => text, until, ended, workdir };
}

/** Checks that no state, snapshot or picture is damaged and that no temporary file is left. */
async function expectIntact(workdir: string) {
  const files = readdirSync(workdir, { recursive: true, encoding: 'utf8' });
  expect(files.filter((file) => file.endsWith('.tmp'))).toEqual([]);
  for (const file of files.filter((name) => name.endsWith('.safetensors'))) await loadCheckpoint(join(workdir, file));
}

describe.each(Object.entries(commands).map(([name, command], i) => [name, i, ...command] as const))(
  '%s',
  (name, i, line, progress) => {
    it('ends after it has started to work', async () => {
      const { child, said, until, ended, workdir } = start(line);
      await until(progress);
      // There is no progress output while samples are drawn.
      while (name.includes('pictures') && !existsSync(join(workdir, 'checkpoints/checkpoint_1.safetensors')))
        await new Promise((resolve) => setTimeout(resolve, 20));
      child.kill(i % 2 ? 'SIGINT' : 'SIGTERM');
      const code = await ended;
      expect(said()).toContain('stopping within about a second');
      const trains = /^(train|online|chain)/.test(name);
      // Where nothing is saved, nothing says so.
      expect(said().includes('then saving')).toBe(trains || name === 'pairs');
      expect(code).toBe(trains ? 0 : 130);
      expect(said()).toMatch(trains ? /run the same command again to resume/ : /^rectiflow: stopped$/m);
      await expectIntact(workdir);
      expect(existsSync(join(workdir, 'lock'))).toBe(false);
    });

    it.runIf(full)(
      'ends at any moment',
      async () => {
        for (let i = 0; i < 10; i++) {
          const { child, ended, workdir } = start(line);
          await new Promise((resolve) => setTimeout(resolve, Math.random() * 6000));
          child.kill(i % 2 ? 'SIGINT' : 'SIGTERM');
          // Before the program installs its handler, a signal ends it like any other process.
          expect([0, 130, 'SIGINT', 'SIGTERM']).toContain(await ended);
          await expectIntact(workdir);
        }
      },
      300_000,
    );
  },
);
