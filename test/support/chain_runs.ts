// Chains as processes of their own, in folders of a root: run whole, killed at random, and compared by the bytes of their files.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { type Fault, faultEnvironment } from './faults.ts';

export const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));

/** Keys of a chain of few steps, with a network of few channels and no classifier. */
export const smallChain = {
  'model.nf': 8,
  'training.batch_size': 16,
  'training.n_iters': 9,
  'training.snapshot_freq': 10,
  'training.snapshot_freq_for_preemption': 4,
  'training.eval_freq': 1000,
  'training.snapshot_sampling': false,
  'chain.reflow_iters': 5,
  'chain.pairs': 40,
  'chain.pair_steps': 2,
  'chain.classifier': false,
  'eval.num_samples': 10,
  'eval.straightness_samples': 4,
};

export class ChainRuns {
  private readonly root: string;
  private readonly config: string;
  private readonly values: Readonly<Record<string, unknown>>;

  constructor(root: string, config: string, values: Readonly<Record<string, unknown>>) {
    this.root = root;
    this.config = config;
    this.values = values;
  }

  /** Each chain runs in its own folder under the same relative name, because paths are part of configurations. */
  start(folder: string, ...more: string[]) {
    const cwd = join(this.root, folder);
    mkdirSync(cwd, { recursive: true });
    const overrides = Object.entries(this.values).map(([path, value]) => `--config.${path}=${value}`);
    const words = ['chain', '--config', this.config, '--workdir', 'chain', '--threads', '1', ...overrides, ...more];
    return [words, { cwd, env: { ...process.env, RECTIFLOW_DATA: join(cwd, 'data') } }] as const;
  }

  run(folder: string, ...more: string[]) {
    const [words, options] = this.start(folder, ...more);
    return spawnSync(process.execPath, [bin, ...words], { ...options, encoding: 'utf8', timeout: 120_000 });
  }

  /** Runs chains that are killed right before a call that writes, `most` times in all, and compares their files with `whole`. */
  async killedTimes(most: number, seed: number, whole: Readonly<Record<string, string>>): Promise<void> {
    const random = seeded(seed);
    for (let kills = 0, chain = 0; kills < most; chain++) {
      const folder = `killed${chain}`;
      for (let ended: unknown; ended !== 0; ) {
        const [words, options] = this.start(folder);
        const at = 1 + Math.floor(60 * random());
        const fault: Fault = { path: `${join(this.root, folder)}/`, op: 'any', kind: 'kill', at };
        const env = { ...options.env, ...faultEnvironment(kills < most ? fault : undefined) };
        env.RECTIFLOW_DATA = options.env.RECTIFLOW_DATA;
        const child = spawn(process.execPath, [bin, ...words], { ...options, env, stdio: 'ignore' });
        ended = await new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
        if (ended === 0) break;
        expect(ended).toBe('SIGKILL');
        kills++;
      }
      expect(this.filesOf(folder), `seed ${seed}`).toEqual(whole);
    }
  }

  /**
   * The SHA-256 of every file of a chain, except files that contain the time of day, and without the rates in logs.
   * Checks that there are no files that begin with a dot, so no temporary files.
   */
  filesOf(folder: string): Record<string, string> {
    const files = readdirSync(join(this.root, folder, 'chain'), { recursive: true, encoding: 'utf8' }).sort();
    expect(files.filter((file) => /(^|\/)(\.|lock)|\.part$/.test(file))).toEqual([]);
    const kept = files.filter(
      (file) => /\.\w+$/.test(file) && !/tensorboard|report\.|times\.json|^[^/]*\/?run\.json$|stdout\.txt/.test(file),
    );
    const hash = (file: string) => {
      const text = readFileSync(join(this.root, folder, 'chain', file), 'latin1');
      const lasting = file.endsWith('log.jsonl') ? text.replace(/"images_per_s":[^,}]*/g, '') : text;
      return createHash('sha256').update(lasting, 'latin1').digest('hex');
    };
    return Object.fromEntries(kept.map((file) => [file, hash(file)]));
  }
}

/** Pseudorandom numbers in [0, 1): Marsaglia's xorshift. */
function seeded(seed: number): () => number {
  let state = seed >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state = (state ^ (state << 5)) >>> 0;
    return state / 2 ** 32;
  };
}
