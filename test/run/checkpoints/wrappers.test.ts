// Checkpoints of other trainers: where their state dict is, which prefixes are removed, what is refused. The files in
// fixtures/checkpoints were written by PyTorch's own wrappers.
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { FileError } from '../../../src/errors.ts';
import { type ArrayFile, readPth, type TorchValue, toFloat32 } from '../../../src/io/index.ts';
import { findState } from '../../../src/run/checkpoints/wrappers.ts';
import { inspectFile } from '../../../src/run/index.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/checkpoints/${name}.pth`, import.meta.url));
const known = new Set(['0.weight', '0.bias', '1.weight', '1.bias']);
const values = { '0.weight': [0, 1], '0.bias': [10], '1.weight': [20, 21], '1.bias': [30, 31] };
const averages = { '0.weight': [0.5, 1.5], '0.bias': [10.5], '1.weight': [20.5, 21.5], '1.bias': [30.5, 31.5] };

const plain = (state: ReadonlyMap<string, ArrayFile>) =>
  Object.fromEntries([...state].map(([name, array]) => [name, [...toFloat32(array)]]));

async function found(name: string) {
  const path = fixture(name);
  return findState(path, await readPth(path), known);
}

describe('findState', () => {
  it.each([
    ['ddp', []],
    ['ddp_twice', ['removed "module.module." from its names']],
    ['compiled', ['removed "_orig_mod." from its names']],
    ['compiled_ddp', ['removed "_orig_mod.module." from its names']],
    ['ddp_compiled', ['removed "module._orig_mod." from its names']],
    ['compiled_layer', ['removed "_orig_mod." from its names']],
    ['swa', []],
    ['lightning', ['reading its weights under "state_dict"', 'removed "model." from its names']],
    ['arguments', []],
    ['arguments_protocol4', []],
    ['float64', []],
    ['float16', []],
    ['bfloat16', []],
  ])('removes the wrappers of %s with a notice', async (name, said) => {
    const state = await found(name);
    expect(plain(state.weights)).toEqual(values);
    expect(state.average).toBeUndefined();
    expect(state.said).toEqual(said);
  });

  it.each([
    ['model_and_ema', ['reading its average under "ema"']],
    ['timm', ['reading its weights under "state_dict"', 'reading its average under "state_dict_ema"']],
    [
      'lightning_ema',
      [
        'reading its weights under "state_dict"',
        'removed "net." from its names',
        'removed "ema_net." from the names of its average',
      ],
    ],
  ])('separates weights and average of %s', async (name, said) => {
    const state = await found(name);
    expect(plain(state.weights)).toEqual(values);
    expect(plain(state.average as Map<string, ArrayFile>)).toEqual(averages);
    expect(state.said).toEqual(said);
  });

  it('uses an average as the weights if the file has no others', async () => {
    const { weights, average, said } = await found('ema_alone');
    expect([plain(weights), average, said]).toEqual([averages, undefined, ['reading its weights under "ema"']]);
  });

  it.each([
    ['unclear', 'is ambiguous: it holds state dicts under "generator", "discriminator"'],
    ['unclear_prefix', 'is ambiguous: it holds the network under the prefixes "left.", "right."'],
  ])('refuses %s and lists its names', async (name, message) => {
    const error = await found(name).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toContain(message);
  });

  const one: ArrayFile = { shape: [1], dtype: 'f32', data: new Float32Array(1) };
  it.each<[string, TorchValue, string]>([
    ['no dictionary', [1], 'is not a checkpoint: it does not hold a dictionary'],
    ['no tensor', new Map([['epoch', 3]]), 'holds no state dict: its keys are "epoch"'],
    ['nothing', new Map(), 'holds no state dict: it is empty'],
    [
      'a number among tensors',
      new Map<string, TorchValue>([
        ['0.bias', one],
        ['0.weight', 1],
      ]),
      '"0.weight" is not a tensor',
    ],
    [
      'two spellings of one name',
      new Map<string, TorchValue>([
        ['0.bias', one],
        ['0._orig_mod.bias', one],
      ]),
      'holds "0.bias" twice, with and without the names of a wrapper',
    ],
    [
      'a name with and without the common prefix',
      new Map<string, TorchValue>(['net.0.bias', 'net.0.weight', 'net.1.bias', '0.bias'].map((name) => [name, one])),
      'holds "0.bias" twice, with and without "net."',
    ],
    [
      'two usual keys',
      new Map<string, TorchValue>([
        ['model', new Map([['0.bias', one]])],
        ['state_dict', new Map([['0.bias', one]])],
      ]),
      'is ambiguous: it holds state dicts under "model", "state_dict"',
    ],
  ])('refuses a file of %s', (_, root, message) => {
    expect(() => findState('x.pth', root, known)).toThrow(`x.pth: ${message}`);
  });

  it('handles a name of a million parts quickly', () => {
    const long = `${'a.'.repeat(1_000_000)}0.bias`;
    const before = process.cpuUsage();
    const { weights } = findState('x.pth', new Map([[long, one]]), known);
    expect([...weights.keys()]).toEqual(['0.bias']);
    // CPU time in microseconds, independent of other load.
    expect(process.cpuUsage(before).user).toBeLessThan(2e6);
  });

  it('does not change names that the network does not have', () => {
    const root = new Map<string, TorchValue>(
      ['net.0.bias', 'net.0.weight', 'loss.scale', 'net.extra'].map((name) => [name, one]),
    );
    expect([...findState('x.pth', root, known).weights.keys()]).toEqual(['0.bias', '0.weight', 'loss.scale', 'extra']);
  });
});

describe('objects next to tensors', () => {
  it('become plain data', async () => {
    const root = (await readPth(fixture('arguments'))) as Map<string, TorchValue>;
    expect(root.get('args')).toEqual(
      new Map<string, TorchValue>([
        ['inner', new Map([['a', 1]])],
        ['simple', new Map([['b', [2]]])],
        ['counts', new Map(Object.entries({ a: 2, b: 1 }))],
        ['default', new Map([['c', [3]]])],
        ['version', '2.13.0'],
      ]),
    );
    const lightning = (await readPth(fixture('lightning'))) as Map<string, TorchValue>;
    expect(lightning.get('hyper_parameters')).toEqual(
      new Map<string, TorchValue>([
        ['lr', 1e-3],
        ['data', '/data/x'],
        ['sizes', [32]],
      ]),
    );
  });

  it('tensors lose their attributes and keep their values', async () => {
    const root = (await readPth(fixture('attributes'))) as Map<string, ArrayFile | Map<string, ArrayFile>>;
    expect([...(root.get('tensor') as ArrayFile).data]).toEqual([0, 1, 2]);
    expect([...(root.get('parameter') as ArrayFile).data]).toEqual([0, 1]);
    expect([...(root.get('buffer') as ArrayFile).data]).toEqual([0, 1, 2, 3]);
    expect([...((root.get('state') as Map<string, ArrayFile>).get('count') as ArrayFile).data]).toEqual([0, 1, 2, 3]);
  });

  it('a custom tensor class is refused by name', async () => {
    await expect(readPth(fixture('own_class'))).rejects.toThrow('refused: trainer.Ours; pickles are read as data');
  });

  it('are shown by inspect', async () => {
    const { values } = await inspectFile(fixture('lightning'));
    expect(values).toContainEqual(['hyper_parameters.data', '/data/x']);
    expect(values).toContainEqual(['pytorch-lightning_version', '2.5.0']);
  });
});
