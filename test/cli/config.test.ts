// The command `config`, in this process: what each action prints of names, files and folders of runs, and what it refuses.
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { commandHelp, parseArguments } from '../../src/cli/arguments.ts';
import { configCommand } from '../../src/cli/config.ts';
import { sampleCommand } from '../../src/cli/sample.ts';
import { trainCommand } from '../../src/cli/train.ts';
import { allKeys, keysReadBy } from '../../src/run/config/explain.ts';
import { loadConfig, presetNames } from '../../src/run/config/index.ts';
import { keyProperties } from '../../src/run/config/tree.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-config-command-'));
const at = (name: string) => join(folder, name);

/** @returns standard output. @throws the error that the command line ends with */
async function config(line: string): Promise<string> {
  let printed = '';
  const stream = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    printed += text;
    return true;
  });
  const errors = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
  try {
    const parsed = parseArguments(configCommand, line.split(' ').filter(Boolean));
    if (parsed) await configCommand.run(parsed);
    return printed;
  } finally {
    stream.mockRestore();
    errors.mockRestore();
  }
}

beforeAll(async () => {
  const digits = await loadConfig('digits');
  for (const [name, file] of [
    ['run', 'config.json'],
    ['chain', 'chain.json'],
  ]) {
    mkdirSync(at(name));
    writeFileSync(join(at(name), file), JSON.stringify({ ...digits, seed: 7 }));
  }
  mkdirSync(at('empty'));
  writeFileSync(at('own.json'), '{ "base": "digits", "optim": { "lr": 0.5 } }');
  writeFileSync(at('base.json'), '{}');
});

describe('list', () => {
  it('names every configuration, with what it is', async () => {
    const printed = await config('list');
    for (const name of presetNames())
      expect(printed).toMatch(new RegExp(`^${name.split('/').at(-1)}\\n {2}[A-Z0-9].{30}`, 'm'));
    expect(Object.keys(JSON.parse(await config('list --json')))).toEqual(presetNames());
  });
});

describe('show', () => {
  it('prints every key, with those that have no effect', async () => {
    const lines = (await config('show digits')).trimEnd().split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual(allKeys());
    expect(lines).toContainEqual(expect.stringMatching(/^optim\.lr +0\.002$/));
    expect(lines).toContainEqual(expect.stringMatching(/^sampling\.snr +0\.16 +no effect$/));
    expect(lines).toContainEqual(
      expect.stringMatching(/^sampling\.ode_tol +0\.001 +no effect with sampling\.use_ode_sampler euler$/),
    );
  });

  it.each(['run', 'run/config.json', 'chain'])('takes %s', async (place) => {
    expect(JSON.parse(await config(`show ${at(place)} --json`))).toEqual({ ...(await loadConfig('digits')), seed: 7 });
  });

  it('takes a file, and lays overrides over it', async () => {
    expect(JSON.parse(await config(`show ${at('own.json')} --json --config.model.nf 8 --noconfig.model.fir`))).toEqual({
      ...(await loadConfig('digits', { optim: { lr: 0.5 }, model: { nf: 8, fir: false } })),
    });
  });

  it('--changed prints the keys that differ from base', async () => {
    expect(await config(`show ${at('own.json')} --changed --config.seed 1`)).toMatch(
      /^ +here +base\nseed +1 +42\ndata\.dataset +DIGITS +CIFAR10\n/,
    );
    expect(JSON.parse(await config('show cifar10_rf_gaussian_ddpmpp --changed --json'))).toEqual({
      'data.centered': true,
      'model.ema_rate': 0.999999,
      'model.dropout': 0.15,
      'model.embedding_type': 'positional',
      'training.snapshot_freq': 100_000,
    });
    expect(await config(`show ${at('base.json')} --changed`)).toBe(
      'every key has the value of the configuration base\n',
    );
  });
});

describe('explain', () => {
  it('prints type, range, default, meaning and the configurations that change a key', async () => {
    const printed = await config('explain optim.lr');
    expect(printed).toMatch(/^optim\.lr\n {2}Learning rate after the warm-up\. /);
    for (const line of [
      /^ {2}type +number$/m,
      /^ {2}range +a number above 0, at most 1e\+30$/m,
      /^ {2}default +0\.0002$/m,
      /^ {2}read by +chain, .*train$/m,
      /^ {2}changed by +0\.001 in cat2dog, cifar10_small\n +0\.002 in digits, digits_bold, digits_inverted, digits_rotated, digits_text\n +0\.00001 in latents$/m,
      /^ {2}resuming +a run resumes with the same value only$/m,
      /^ {2}source +config\.optim\.lr of the official code$/m,
      /^ {2}set it by +--config\.optim\.lr VALUE$/m,
    ])
      expect(printed).toMatch(line);
  });

  it.each([
    ['optim', allKeys().filter((key) => key.startsWith('optim.'))],
    ['optim.', allKeys().filter((key) => key.startsWith('optim.'))],
    ['batch_size', ['training.batch_size', 'eval.batch_size']],
    ['', allKeys()],
  ])('"%s" explains all its keys', async (word, keys) => {
    const facts = JSON.parse(await config(`explain ${word} --json`)) as { key: string; text: string }[];
    expect(facts.map(({ key }) => key)).toEqual(keys);
    const printed = await config(`explain ${word}`);
    for (const key of keys) expect(`\n${printed}`).toContain(`\n${key}: `);
    if (word.startsWith('optim')) expect(printed).toMatch(/^optim: The optimiser and its learning rate\.\n\n/);
  });

  it.each(['lr', 'config.optim.lr'])('%s means optim.lr', async (word) => {
    expect(await config(`explain ${word}`)).toBe(await config('explain optim.lr'));
  });
});

describe('diff', () => {
  it('prints the keys that differ', async () => {
    expect(await config(`diff digits ${at('own.json')}`)).toMatch(
      /^ +digits +\/.*own\.json\noptim\.lr +0\.002 +0\.5\n$/,
    );
    expect(await config(`diff digits ${at('run')} --config.model.ch_mult 1,2,4`)).toMatch(
      /^.*, with overrides\nseed +42 +7\nmodel\.ch_mult +\[1, 2\] +\[1, 2, 4\]\n$/,
    );
    expect(JSON.parse(await config('diff digits --config.seed 1 --json'))).toEqual({ seed: { a: 42, b: 1 } });
    expect(await config(`diff ${at('run')} ${at('chain')}`)).toBe('every key has the same value in both\n');
  });
});

describe('refuses', () => {
  it.each<[string, string | RegExp]>([
    ['', 'config needs an action: rectiflow config list, rectiflow config show NAME, '],
    ['shw digits', 'config has no action "shw"; did you mean config show?'],
    ['digits', 'config has no action "digits"; did you mean config show digits?'],
    ['show', 'config show needs NAME: rectiflow config show NAME'],
    ['diff', 'config diff needs A: rectiflow config diff A [B]'],
    ['diff digits', 'config diff needs two configurations, or one and --config.KEY VALUE'],
    ['list digits', 'unexpected argument "digits"; write rectiflow config list'],
    ['list --config.seed 1', '--config.seed has no effect on config list'],
    ['explain seed --changed', '--changed has no effect on config explain'],
    ['show Digit', 'unknown configuration "Digit"; did you mean "digits"?'],
    ['show DIGITS', 'unknown configuration "DIGITS"; did you mean "digits"?'],
    ['show digits --config.optim.LR 1', 'unknown key optim.LR; did you mean optim.lr?'],
    [`show ${at('empty')}`, 'empty: holds neither chain.json nor config.json'],
    [`show ${at('none.json')}`, 'none.json: no such file or folder'],
    [`show ${at('none.safetensors')}`, 'none.safetensors: no such file'],
    ['explain Optim.LR', 'unknown key Optim.LR; did you mean optim.lr?'],
    ['explain 鍵', /unknown key 鍵; the tables are data, source, model, /],
    ['explain learningrate', /unknown key learningrate; the tables are data, source, model, /],
    ['explain optm', 'unknown key optm; did you mean optim?'],
    ['explain batchsize', 'unknown key batchsize; did you mean training.batch_size?'],
  ])('%s', async (line, message) => {
    await expect(config(line)).rejects.toThrow(message);
  });
});

describe('--help', () => {
  const rowsOf = (help: string) => [...help.matchAll(/^ {2}([a-z]+(?:\.\w+)?) {2,}[A-Z]/gm)].map(([, key]) => key);

  it.each([
    ['sample', sampleCommand],
    ['train', trainCommand],
  ] as const)('of %s lists the keys that it reads', (name, command) => {
    const read = keysReadBy(name);
    const expected = allKeys().filter(
      (key) =>
        !keyProperties(key)?.inert && read.some((one) => one === key || (one.endsWith('.') && key.startsWith(one))),
    );
    expect(rowsOf(commandHelp(command))).toEqual(expected);
    expect(expected.length).toBeGreaterThan(30);
  });
});
