// Every line of docs/commands.md and of the README's list of commands runs, in order, in one folder. Only options that make it
// small are appended. The data of CIFAR-10 are noise.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { summaries } from '../../src/cli/summaries.ts';
import { pipelineShapes, writePipeline } from '../support/instaflow.ts';
import { builtPage } from '../support/playground.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = join(root, 'bin/rectiflow.js');
const folder = mkdtempSync(join(tmpdir(), 'rectiflow-commands-'));
const environment = { ...process.env, RECTIFLOW_DATA: join(folder, 'data'), PATH: `${folder}:${process.env.PATH}` };

const linesOf = (page: string) =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^npx rectiflow (.*)$/gm)].map(([, line]) => line);
const lines = linesOf('docs/commands.md');

const keys = (values: Record<string, unknown>) =>
  Object.entries(values).map(([key, value]) => `--config.${key}=${value}`);
const network = { 'model.nf': 8, 'model.ch_mult': '(1,1)', 'model.num_res_blocks': 1 };
const training = {
  ...network,
  ...{
    'training.batch_size': 8,
    'training.n_iters': 2,
    'training.snapshot_freq': 2,
    'training.snapshot_sampling': false,
  },
};
const samples = { 'eval.num_samples': 8, 'eval.batch_size': 8, 'eval.max_images': 64, 'eval.straightness_samples': 4 };
const stages = {
  ...{
    'chain.reflow_iters': 2,
    'chain.distil_iters': 2,
    'chain.pairs': 16,
    'chain.pair_sampler': 'euler',
    'chain.pair_steps': 2,
  },
  ...{ 'chain.classifier': false, 'sampling.ode_tol': 0.1 },
};
/** Statistics of 3072 pixels would take minutes; a classifier has a few features. */
const scored = { digits: { 'eval.features': 'pixels' }, cifar: { 'eval.features': 'classifier:cifar.safetensors' } };
const reported = { 'eval.num_samples': 8, 'eval.straightness_samples': 4 };
/** What makes each line small, by its command or by the whole line. */
const reduced: Partial<Record<string, string[]>> = {
  quickstart: keys({ ...training, ...samples, ...stages, ...scored.digits }),
  train: keys(training),
  'chain --config digits_text --workdir runs/text': keys({ ...training, ...samples, ...stages, ...scored.digits }),
  'chain --config digits_bold --workdir runs/bold_chain': keys({
    ...{ ...training, ...samples, ...stages, ...scored.digits, 'chain.flows': 1 },
  }),
  'report --workdir runs/digits': keys({ ...reported, ...scored.digits }),
  'report --workdir runs/chain': keys({ ...reported, ...scored.cifar }),
  reflow: keys({ ...training, 'reflow.total_number_of_samples': 16 }),
  text: ['--size', '64'],
  'estimate --model instaflow --steps 4 --guidance 1.5': ['--size', '64'],
  estimate: keys({ ...training, ...samples, ...stages }),
  chain: keys({ ...training, ...samples, ...stages, ...scored.cifar, 'chain.flows': 1, 'chain.distil_steps': 0 }),
  eval: keys({ ...network, ...samples }),
  'toy --from triangle --to triangle --reflow 1 --out flows.html': ['--steps', '20', '--points', '50'],
  'toy --coupling optimal --cost 2 --seed 3': ['--steps', '20', '--points', '50', '--pairs', '100', '--reflow', '0'],
  toy: ['--points', '50', '--pairs', '200'],
  classifier: ['--steps', '3'],
  stats: keys({ 'eval.max_images': 64 }),
};

/** Counts that the page states and that a test cannot afford. */
const large = /^(--config\.chain\.pairs|--config\.reflow\.total_number_of_samples)$/;

/** Words of the line and those that make it small, which replace large counts. */
function wordsOf(line: string): string[] {
  const words = Array.from(line.matchAll(/"([^"]*)"|\S+/g), ([word, quoted]) => quoted ?? word);
  const kept = words.filter((word, i) => !large.test(word) && !large.test(words[i - 1] ?? ''));
  const given = new Set(kept.map((word) => word.replace(/=.*/, '')));
  return [...kept, ...(reduced[line] ?? reduced[words[0]] ?? []).filter((word) => !given.has(word.replace(/=.*/, '')))];
}

function run(words: readonly string[]): string {
  const options = { cwd: folder, encoding: 'utf8', env: environment, timeout: 240_000 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...words], options);
  expect(status, `${words.join(' ')}\n${stderr}`).toBe(0);
  return stdout;
}

/** Starts a command that does not end by itself, and interrupts it when it has printed this. */
async function runUntil(
  words: readonly string[],
  pattern: RegExp,
  act: (text: string) => Promise<void>,
): Promise<void> {
  const child = spawn(process.execPath, [bin, ...words], { cwd: folder, env: environment });
  const ended = new Promise((resolve) => child.on('close', resolve));
  let text = '';
  try {
    await new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr])
        stream.on('data', (piece) => {
          text += piece;
          if (pattern.test(text)) resolve();
        });
      ended.then(() => reject(new Error(`ended early: ${text}`)));
    });
    await act(text);
  } finally {
    child.kill('SIGINT');
  }
  expect([0, 130]).toContain(await ended);
}

beforeAll(async () => {
  await writePipeline(join(folder, 'instaflow'), pipelineShapes().shapes);
  builtPage();
  const cifar = join(folder, 'cifar-10-batches-bin');
  mkdirSync(cifar);
  // 10,000 records of a label and 3 x 32 x 32 bytes.
  const batch = Buffer.alloc(10_000 * 3073);
  for (let i = 0; i < batch.length; i++) batch[i] = i % 3073 === 0 ? 7 : Math.imul(i, 0x9e3779b1) >>> 24;
  for (const name of ['data_batch_1.bin', 'test_batch.bin']) writeFileSync(join(cifar, name), batch);
  const data = ['--config', 'cifar10_small', '--config.data.root_path', cifar];
  run(['classifier', ...data, '--out', 'cifar.safetensors', '--steps', '2']);
  // A desktop that opens nothing.
  writeFileSync(join(folder, 'xdg-open'), '#!/bin/sh\n', { mode: 0o755 });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

describe('docs/commands.md', () => {
  it.each(lines)(
    '%s',
    async (line) => {
      const words = wordsOf(line);
      if (words[0] === 'tune') return runUntil(words, /^tune \d+\//m, async () => {});
      if (words[0] === 'playground')
        return runUntil(['playground', '--port', '0'], /http:\/\/\S+:\d+/, async (text) => {
          const [address] = /http:\/\/[\w.:[\]-]+:\d+/.exec(text) as RegExpExecArray;
          expect(await (await fetch(address)).text()).toContain('<title>rectiflow playground</title>');
        });
      if (words[0] === 'serve') {
        const free = words.map((word) => (word === '8080' ? '0' : word));
        return runUntil(free, /http:\/\/\S+:\d+/, async (text) => {
          const [address] = /http:\/\/[\w.:[\]-]+:\d+/.exec(text) as RegExpExecArray;
          const order = { sampler: 'euler', steps: 1 };
          const [path, asked] = words.includes('--model')
            ? ['text', { prompt: 'a cat', size: 64 }]
            : ['sample', { count: 1 }];
          const [headers, body] = [{ 'content-type': 'application/json' }, JSON.stringify({ ...order, ...asked })];
          expect((await fetch(`${address}/${path}`, { method: 'POST', headers, body })).ok).toBe(true);
        });
      }
      expect(run(words)).not.toBe('');
    },
    240_000,
  );

  it('has every command', () => {
    const named = new Set(lines.map((line) => line.split(' ')[0]));
    expect(Object.keys(summaries).filter((name) => !named.has(name))).toEqual([]);
  });
});

it("the README's commands are those of docs/commands.md", () => {
  const own = linesOf('README.md').filter((line) => line !== 'COMMAND --help');
  expect(own.length).toBeGreaterThan(2);
  expect(own.filter((line) => !lines.includes(line))).toEqual([]);
});
