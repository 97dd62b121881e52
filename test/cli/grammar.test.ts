// The command grammar, line by line: the meaning of each accepted form, and the exact message for each wrong one. It is
// the official grammar: absl flags over a locked configuration.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { optionOf, parseArguments } from '../../src/cli/arguments.ts';
import { findCommand } from '../../src/cli/mode.ts';
import { configOf } from '../../src/cli/shared.ts';
import { trainCommand } from '../../src/cli/train.ts';

const names = ['quickstart', 'train', 'reflow', 'pairs', 'eval', 'sample', 'stats', 'convert', 'inspect', 'doctor'];

/** Splits a line into words as a shell does, with single quotes. */
function split(line: string): string[] {
  return [...line.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
}

async function meaning(line: string) {
  const [name, rest] = await findCommand(split(line), names);
  const parsed = parseArguments(trainCommand, rest);
  if (!parsed) throw new Error('help');
  return { name, workdir: parsed.text('workdir'), config: await configOf(parsed) };
}

const base = '--config digits --workdir w';

describe('means the same', () => {
  it.each([
    `train ${base}`,
    `--mode train ${base}`,
    `${base} --mode train`,
    `${base} --mode=train`,
    `${base} train`,
    `--config digits train --workdir w`,
    `--config=digits --workdir=w train`,
    `-config digits -workdir w -mode train`,
    `-config=digits -workdir=w -mode=train`,
    `---mode train ${base}`,
    `train --mode train ${base}`,
    `--dry-run train ${base}`,
    `--config.data.centered train ${base}`,
    `--noconfig.data.random_flip train ${base}`,
    `--config.data.centered true train ${base}`,
    `train ${base} --config.data.centered True --config.optim.lr 2e-3`,
    `train ${base} --config.optim.lr 0.002`,
    `train ${base} --config.training.n_iters 5e2`,
    `train ${base} --config.training.n_iters 500.0`,
    `train ${base} --config.optim.lr 1 --config.optim.lr 2e-3`,
    `train ${base} --config.model.ch_mult '(1, 2)'`,
    `train ${base} --eval_folder eval`,
  ])('%s', async (line) => {
    const { name, workdir, config } = await meaning(line);
    const plain = await meaning(`train ${base}`);
    expect(name).toBe('train');
    expect(workdir).toBe('w');
    expect(config).toEqual(plain.config);
  });
});

describe('changes one key', () => {
  it.each<[string, string, unknown]>([
    ['--config.optim.lr 1e-4', 'optim.lr', 1e-4],
    ['--config.optim.lr=1e-4', 'optim.lr', 1e-4],
    ['-config.optim.lr=1e-4', 'optim.lr', 1e-4],
    ['--config.optim.lr 1', 'optim.lr', 1],
    ['--config.optim.grad_clip -1', 'optim.grad_clip', -1],
    ['--config.optim.grad_clip=-1', 'optim.grad_clip', -1],
    ['--config.optim.grad_clip -1e0', 'optim.grad_clip', -1],
    ['--config.optim.grad_clip .5', 'optim.grad_clip', 0.5],
    ['--config.training.n_iters 1_000', 'training.n_iters', 1000],
    ['--config.training.n_iters +5', 'training.n_iters', 5],
    ['--config.model.ch_mult (1,2,2,2)', 'model.ch_mult', [1, 2, 2, 2]],
    ['--config.model.ch_mult=[1,2]', 'model.ch_mult', [1, 2]],
    ['--config.model.ch_mult 1,2', 'model.ch_mult', [1, 2]],
    ['--config.model.ch_mult (4,)', 'model.ch_mult', [4]],
    ['--config.model.attn_resolutions ()', 'model.attn_resolutions', []],
    ['--config.data.centered=false', 'data.centered', false],
    ['--config.data.centered False', 'data.centered', false],
    ['--noconfig.data.centered', 'data.centered', false],
    ['-noconfig.data.centered', 'data.centered', false],
    ['--config.data.random_flip', 'data.random_flip', true],
    ['--config.data.random_flip --config.seed 1', 'data.random_flip', true],
    ['--config.data.random_flip true', 'data.random_flip', true],
    ['--config.data.root_path a=b', 'data.root_path', 'a=b'],
    ['--config.data.root_path=a=b', 'data.root_path', 'a=b'],
    [`--config.data.root_path '"a b"'`, 'data.root_path', 'a b'],
    ['--config.data.root_path train', 'data.root_path', 'train'],
    ['--config.sampling.use_ode_sampler rk45', 'sampling.use_ode_sampler', 'rk45'],
    ['--eval_folder eval_2', 'eval.folder', 'eval_2'],
  ])('%s', async (line, path, value) => {
    const { config } = await meaning(`train ${base} ${line}`);
    expect(path.split('.').reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], config)).toEqual(value);
  });
});

it('--mode leaves the first word to the command', async () => {
  expect(await findCommand(['--mode', 'pairs', 'DIR'], names)).toEqual(['pairs', ['DIR']]);
  expect(await findCommand(['DIR', '--mode=inspect'], names)).toEqual(['inspect', ['DIR']]);
});

describe('refuses', () => {
  it.each<[string, string]>([
    ['trian --config digits', 'unknown command "trian"; did you mean train?'],
    [
      'fly',
      'unknown command "fly"; the commands are quickstart, train, reflow, pairs, eval, sample, stats, convert, inspect, doctor',
    ],
    ['--mode trian', 'unknown command "trian"; did you mean train?'],
    ['--mode', '--mode needs a value: --mode quickstart|train|reflow|pairs|eval|sample|stats|convert|inspect|doctor'],
    [
      base,
      'no command; give one of quickstart, train, reflow, pairs, eval, sample, stats, convert, inspect, doctor, or --mode train',
    ],
    [`eval --mode train ${base}`, 'two commands, train and eval; give one'],
    ['train --workdir w', '--config is required'],
    ['train --config', '--config needs a value: --config CONFIG'],
    ['train --config --workdir w', '--config needs a value: --config CONFIG'],
    ['train --config=', '--config needs a value: --config CONFIG'],
    ['train --config digits --config digits', '--config is given twice'],
    [`train ${base} stray`, 'unexpected argument "stray"; options of train begin with --'],
    [`train ${base} -1`, 'unexpected argument "-1"; options of train begin with --'],
    [`train ${base} --wrokdir x`, 'train has no option --wrokdir; did you mean --workdir?'],
    [`train ${base} --frobnicate`, 'train has no option --frobnicate; see rectiflow train --help'],
    [`train ${base} --dry-run=yes`, '--dry-run takes no value, got "yes"'],
    [`train ${base} --config.optim.lr`, '--config.optim.lr expects a value, got no value'],
    [`train ${base} --config.optim.lr fast`, '--config.optim.lr expects a number, got "fast"'],
    [`train ${base} --config.optim.lr nan`, '--config.optim.lr expects a number, got "nan"'],
    [`train ${base} --config.data.centered=maybe`, '--config.data.centered expects true or false, got "maybe"'],
    [
      `train ${base} --config.model.ch_mult (1,x)`,
      '--config.model.ch_mult expects numbers as (1, 2) or [1, 2], got "(1,x)"',
    ],
    [`train ${base} --config.model.nff 1`, '--config.model.nff: unknown key model.nff; did you mean model.nf?'],
    [`train ${base} --config.lr 1`, '--config.lr: unknown key lr; did you mean optim.lr?'],
    [
      `train ${base} --config.optim 1`,
      '--config.optim: optim is a table; name one of its keys: optimizer, lr, beta1, beta2, eps, weight_decay, momentum, nesterov, muon_lr, warmup, schedule, schedule_steps, schedule_factor, grad_clip',
    ],
    [`train ${base} --dry-run --threads 0`, '--threads expects a whole number from 1 to 256, got "0"'],
    [`train ${base} --dry-run --threads 257`, '--threads expects a whole number from 1 to 256, got "257"'],
    [
      `train ${base} --dry-run --device gpu`,
      '--device expects cpu, wasm, cuda or cuda:N, got "gpu"; did you mean cuda?',
    ],
    [`train ${base} --noconfig.optim.lr`, '--noconfig.optim.lr: only boolean keys take --noconfig'],
    [`train ${base} --noconfig.data.centered=1`, '--noconfig.data.centered takes no value, got "1"'],
    ['train --config digit --workdir w', 'unknown configuration "digit"; did you mean "digits"?'],
    [
      `train ${base} --eval_folder ../x`,
      'invalid configuration with the overrides of the command line:\n  eval.folder: expected the name of a folder: letters, digits, _ . - without a leading dot; got "../x"',
    ],
    [
      `train ${base} --config.seed None`,
      'invalid configuration with the overrides of the command line:\n  seed: expected a whole number from 0 to 9007199254740991; got null',
    ],
    [
      `train ${base} --config.training.n_iters 1.5`,
      'invalid configuration with the overrides of the command line:\n  training.n_iters: expected a whole number from 0 to 1000000000000; got 1.5',
    ],
  ])('%s', async (line, message) => {
    await expect(meaning(line)).rejects.toThrow(expect.objectContaining({ message }));
  });
});

it('tells options from values', () => {
  expect(optionOf('-1')).toBeUndefined();
  expect(optionOf('-.5')).toBeUndefined();
  expect(optionOf('--')).toBeUndefined();
  expect(optionOf('--a=b=c')).toEqual({ name: 'a', attached: 'b=c' });
});

it('--dry-run prints the whole configuration and what would run, but runs nothing', () => {
  const bin = fileURLToPath(new URL('../../bin/rectiflow.js', import.meta.url));
  const words = split(`---mode train --config digits --workdir /nowhere/w --config.seed=7 --dry-run`);
  const { stdout, stderr, status } = spawnSync(process.execPath, [bin, ...words], { encoding: 'utf8' });
  expect(stderr).toBe('note: ---mode is read as --mode\n');
  const [json, plan] = stdout.split(/\n(?=would )/);
  expect(JSON.parse(json)).toMatchObject({ seed: 7, model: { nf: 32 } });
  expect(plan).toBe('would train steps 0 to 500 in /nowhere/w\n');
  expect(status).toBe(0);
});
