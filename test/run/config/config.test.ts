// Configurations: composition, overrides as text, and error messages with path and nearest name.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ArgumentError, ConfigError } from '../../../src/errors.ts';
import {
  applyOverrides,
  type ConfigOverrides,
  loadConfig,
  presetNames,
  resolveConfig,
} from '../../../src/run/config/index.ts';

const override = (path: string, text?: string) => [{ path: path.split('.'), text }];

function file(name: string, text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), 'rectiflow-config-')), name);
  writeFileSync(path, text);
  return path;
}

describe('presets', () => {
  it.each(presetNames())('%s is whole', async (name) => {
    expect((await loadConfig(name)).optim.beta1).toBe(0.9);
  });

  it('are found without their folder and are based on each other', async () => {
    const config = await loadConfig('cifar10_rf_gaussian_ddpmpp');
    expect(config.model).toMatchObject({ ema_rate: 0.999999, nf: 128, embedding_type: 'positional' });
    expect((await loadConfig('digits')).data).toMatchObject({ centered: true, dataset: 'DIGITS' });
  });

  it('suggest the nearest name', async () => {
    await expect(loadConfig('digit')).rejects.toThrow(/unknown configuration "digit"; did you mean "digits"\?/);
  });
});

describe('files', () => {
  it('take missing keys from the base', async () => {
    const config = await loadConfig(file('c.json', '{"model": {"nf": 64}}'));
    expect(config.model).toMatchObject({ nf: 64, dropout: 0.1 });
  });

  it('may be TypeScript', async () => {
    const text = "const nf: number = 16;\nexport default { base: 'digits', model: { nf } };";
    expect((await loadConfig(file('c.ts', text))).model).toMatchObject({ nf: 16, ch_mult: [1, 2] });
  });

  it('in TypeScript import others by any name of theirs, use import.meta and wait', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'rectiflow-config-'));
    const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
    write('nf.ts', 'export enum Width { narrow = 8, wide = 16 }\nexport default interface Nothing {}\n');
    write('seed.mjs', 'export const seed = await Promise.resolve(7);');
    write('size.cjs', 'module.exports = { batch: 12 };');
    write(
      'c.ts',
      `import { basename } from 'node:path';
import type { ConfigFile } from 'rectiflow/run';
import { Width } from './nf.js';
import size from './size.cjs';
const { seed } = await import('./seed.mjs');
const place = 'not import.meta.url' satisfies string; // nor import.meta
const own = basename(new URL(import.meta.url).pathname) === 'c.ts' && basename(import.meta.dirname) !== '' && place.includes('meta.url');
export default <ConfigFile>{ base: 'digits', seed, model: { nf: Width.wide }, training: { batch_size: own ? size.batch! : 1 } };
`,
    );
    const config = await loadConfig(join(folder, 'c.ts'));
    expect([config.seed, config.model.nf, config.training.batch_size]).toEqual([7, 16, 12]);
  });

  it.each([
    ['c.json', '{"model": {"nff": 64}}', /unknown key model\.nff; did you mean model\.nf\?/],
    ['c.json', '{"lr": 1}', /unknown key lr; did you mean optim\.lr\?/],
    ['c.json', '{"__proto__": {"x": 1}}', /unknown key __proto__/],
    ['c.json', '{"optim": {"lr": "fast"}}', /optim\.lr: .*number.*; got "fast"/],
    ['c.json', '{"seed": 1, "seed": 2}', /is not JSON: the key "seed" occurs twice/],
    ['c.json', '{"seed": ', /is not JSON/],
    ['c.json', '[1]', /must hold/],
    ['c.json', '{"base": "no_such"}', /unknown configuration "no_such"/],
    ['c.ts', 'throw new Error("boom");', /cannot be run: boom/],
    [
      'c.mjs',
      'throw new Error("a\\nrectiflow: all good\\n    at x")',
      /c\.mjs: cannot be run: a rectiflow: all good at x$/,
    ],
    [
      'c.ts',
      'import "./nowhere.mjs";',
      /cannot be run: Cannot find module '.\/nowhere\.mjs' Require stack: - \S+c\.ts$/,
    ],
    ['c.ts', 'throw null;', /cannot be run: it threw null$/],
    [
      'c.ts',
      'export default {',
      /c\.ts: cannot be run: Error transforming \S+c\.ts: Unexpected token, expected .* \(1:17\)$/,
    ],
    ['c.mjs', 'throw null;', /cannot be run: it threw null$/],
    ['c.mjs', 'throw "text";', /cannot be run: it threw "text"$/],
    ['c.mjs', 'throw Object.create(null);', /cannot be run: it threw an empty object$/],
    ['c.mjs', 'export default new Proxy({}, { ownKeys() { throw null } });', /cannot be run: it threw null$/],
    ['c.mjs', 'export default { get model() { throw new Error("boom") } };', /cannot be run: boom$/],
    ['c.mjs', 'const a = {}; a.model = a; export default a;', /configuration is nested deeper than 20$/],
    ['c.mjs', 'export default new Map([["seed", 1]]);', /expected plain values, got an instance of Map$/],
  ])('%s %s is refused', async (name, text, message) => {
    await expect(loadConfig(file(name, text))).rejects.toThrow(message);
  });

  it('that are deep or have long keys are refused', async () => {
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    await expect(loadConfig(file('c.json', deep))).rejects.toThrow(/is not JSON: it is nested deeper than 500$/);
    const long = `{"${'k'.repeat(500_000)}": 1}`;
    await expect(loadConfig(file('c.json', long))).rejects.toThrow(/unknown key k+…/);
  });

  it('that are based on each other are refused', async () => {
    const path = file('c.json', '{"base": "c.json"}');
    await expect(loadConfig(path)).rejects.toThrow(/based on each other/);
  });

  it('that are missing are named', async () => {
    await expect(loadConfig('no/such.json')).rejects.toThrow(/no\/such\.json: no such file/);
  });

  it('inside a checkpoint are data', async () => {
    await expect(resolveConfig(42, 'x.safetensors')).rejects.toThrow(/x\.safetensors is not a table/);
    expect((await resolveConfig({ seed: 7 }, 'x')).seed).toBe(7);
  });
});

describe('overrides of a command line', () => {
  it.each([
    ['optim.lr', '1e-4', { optim: { lr: 1e-4 } }],
    ['optim.grad_clip', '-1', { optim: { grad_clip: -1 } }],
    ['training.n_iters', '1_000', { training: { n_iters: 1000 } }],
    ['model.ch_mult', '(1,2,2,2)', { model: { ch_mult: [1, 2, 2, 2] } }],
    ['model.ch_mult', '(4,)', { model: { ch_mult: [4] } }],
    ['model.ch_mult', '[1, 2]', { model: { ch_mult: [1, 2] } }],
    ['data.centered', 'False', { data: { centered: false } }],
    ['data.random_flip', undefined, { data: { random_flip: true } }],
    ['data.root_path', 'a=b', { data: { root_path: 'a=b' } }],
  ])('%s %s', async (path, text, expected) => {
    expect(applyOverrides(await loadConfig('digits'), override(path, text))).toMatchObject(expected);
  });

  it.each([
    ['optim.lr', 'nan', /--config\.optim\.lr expects a number, got "nan"/],
    ['optim.lr', undefined, /expects a value, got no value/],
    ['optim.lr', '-1', /optim\.lr: .*; got -1/],
    ['model.nff', '1', /unknown key model\.nff; did you mean model\.nf\?/],
    ['model', '1', /model is a table; name one of its keys: /],
    ['data.centered', 'maybe', /expects true or false/],
    ['model.ch_mult', '(1,x)', /expects numbers/],
    ['sampling.use_ode_sampler', 'eulr', /sampling\.use_ode_sampler/],
  ])('%s %s is refused', async (path, text, message) => {
    const config = await loadConfig('digits');
    expect(() => applyOverrides(config, override(path, text))).toThrow(message);
  });
});

describe('overrides as a nested object', () => {
  it('change the keys that they name, and no other', async () => {
    const digits = await loadConfig('digits');
    const config = await loadConfig('digits', {
      model: { nf: 8, ch_mult: [1] },
      training: { batch_size: 16 },
      reflow: { reflow_t_schedule: 4 },
      seed: 7,
    });
    expect(config).toEqual({
      ...digits,
      seed: 7,
      model: { ...digits.model, nf: 8, ch_mult: [1] },
      training: { ...digits.training, batch_size: 16 },
      reflow: { ...digits.reflow, reflow_t_schedule: 4 },
    });
  });

  it('leave a key that is undefined as it is', async () => {
    const config = await loadConfig('digits', {
      seed: undefined,
      model: { nf: undefined, dropout: 0.5 },
      optim: undefined,
    });
    const digits = await loadConfig('digits');
    expect(config).toEqual({ ...digits, model: { ...digits.model, dropout: 0.5 } });
  });

  it('are read once, and not changed', async () => {
    const overrides = { model: { nf: 8, ch_mult: [1, 2] } };
    const config = await loadConfig('digits', overrides);
    overrides.model.ch_mult.push(4);
    expect(config.model.ch_mult).toEqual([1, 2]);
    expect(overrides).toEqual({ model: { nf: 8, ch_mult: [1, 2, 4] } });
  });

  it('are typed', async () => {
    // @ts-expect-error There is no such key.
    await expect(loadConfig('digits', { model: { nff: 8 } })).rejects.toThrow(ConfigError);
    // @ts-expect-error A number is not written as text.
    await expect(loadConfig('digits', { model: { nf: '8' } })).rejects.toThrow(ConfigError);
    // @ts-expect-error There is no such solver.
    await expect(loadConfig('digits', { sampling: { use_ode_sampler: 'eulr' } })).rejects.toThrow(ConfigError);
  });

  /** The text of --config.KEY that is refused for the same reason, where a command line can say it. */
  it.each<[overrides: unknown, message: string, path?: string, text?: string]>([
    [{ model: { nff: 1 } }, 'unknown key model.nff; did you mean model.nf?', 'model.nff', '1'],
    [{ lr: 1 }, 'unknown key lr; did you mean optim.lr?', 'lr', '1'],
    [{ 'model.nf': 8 }, 'unknown key "model.nf"; write { model: { nf: ... } }'],
    [{ optimizer: { lr: 1 } }, 'unknown key optimizer; did you mean optim.optimizer?', 'optimizer', 'x'],
    [{ model: 1 }, 'model is a table; name one of its keys: name, folder, ', 'model', '1'],
    [{ optim: { lr: -1 } }, 'optim.lr: expected a number above 0, at most 1e+30; got -1', 'optim.lr', '-1'],
    [{ model: { nf: 1.5 } }, 'model.nf: expected a whole number from 4 to 16384; got 1.5', 'model.nf', '1.5'],
    [
      { training: { batch_size: 6, accumulation: 4 } },
      'training.accumulation: expected a divisor of training.batch_size, 6; got 4',
    ],
    [{ model: { nf: '8' } }, 'model.nf: expected a whole number from 4 to 16384; got "8"'],
    [{ model: { nf: { x: 8 } } }, 'model.nf: expected a whole number from 4 to 16384; got an object with "x"'],
    [{ model: null }, 'model is a table; name one of its keys: name, folder, '],
    [{ data: { centered: 'yes' } }, 'data.centered: expected true or false; got "yes"'],
    [{ model: { ch_mult: [1, 'x'] } }, 'model.ch_mult.1: expected a whole number from 1 to 256; got "x"'],
    [{ model: new Map() }, 'model: expected plain values, got an instance of Map'],
    [new Map(), 'expected plain values, got an instance of Map'],
    [JSON.parse('{"__proto__": {"seed": 1}}'), 'unknown key __proto__'],
  ])('%o are refused as --config.KEY is', async (overrides, message, path, text) => {
    const error = await loadConfig('digits', overrides as ConfigOverrides).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as Error).message).toContain(message);
    if (path === undefined) return;
    const config = await loadConfig('digits');
    expect(() => applyOverrides(config, override(path, text))).toThrow(message);
  });

  it('name every fault in one error', async () => {
    const wrong = { model: { nff: 1 }, optim: { lr: 0 } } as ConfigOverrides;
    await expect(loadConfig('digits', wrong)).rejects.toThrow(
      'invalid configuration digits with the overrides of loadConfig:\n' +
        '  unknown key model.nff; did you mean model.nf?\n' +
        '  optim.lr: expected a number above 0, at most 1e+30; got 0',
    );
  });

  it.each([5, 'model.nf', [{ path: ['seed'], text: '1' }], () => {}, null])('refuse %o', async (overrides) => {
    await expect(loadConfig('digits', overrides as never)).rejects.toThrow(ArgumentError);
    await expect(loadConfig('digits', overrides as never)).rejects.toThrow(
      /^\[loadConfig\] expected overrides to be a table of keys, such as \{ model: \{ nf: 8 \} \}, got /,
    );
  });

  it('with a list of billions of items are refused without delay', async () => {
    const list: number[] = [];
    list.length = 2 ** 32 - 1;
    await expect(loadConfig('digits', { model: { ch_mult: list } })).rejects.toThrow(
      'model.ch_mult: expected at most 10000 items, got a list of 4294967295',
    );
  });

  it('that contain themselves are refused', async () => {
    const circle: Record<string, unknown> = {};
    circle.model = circle;
    await expect(loadConfig('digits', circle as ConfigOverrides)).rejects.toThrow(/nested deeper than 20$/);
  });

  it('without effect are noted', async () => {
    const notices: string[] = [];
    const overrides = { sampling: { snr: 0.2, sample_N: 3, use_ode_sampler: 'rk45' } } as const;
    await loadConfig('digits', overrides, (text) => notices.push(text));
    expect(notices).toEqual([
      'sampling.snr has no effect, as in the official code',
      'sampling.sample_N has no effect with sampling.use_ode_sampler rk45',
    ]);
  });
});
