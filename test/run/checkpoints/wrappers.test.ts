// Checkpoints of other trainers: where their state dict is, what is taken off its names, what is refused. The files are those of
// fixtures/checkpoints, written by PyTorch's own wrappers.
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
    ['ddp_twice', ['"module.module." was taken off its names']],
    ['compiled', ['"_orig_mod." was taken off its names']],
    ['compiled_ddp', ['"_orig_mod.module." was taken off its names']],
    ['ddp_compiled', ['"module._orig_mod." was taken off its names']],
    ['compiled_layer', ['"_orig_mod." was taken off its names']],
    ['swa', []],
    ['lightning', ['its weights are those under "state_dict"', '"model." was taken off its names']],
    ['arguments', []],
    ['arguments_protocol4', []],
    ['float64', []],
    ['float16', []],
    ['bfloat16', []],
  ])('takes the wrappers of %s off and says so', async (name, said) => {
    const state = await found(name);
    expect(plain(state.weights)).toEqual(values);
    expect(state.average).toBeUndefined();
    expect(state.said).toEqual(said);
  });

  it.each([
    ['model_and_ema', ['its average is under "ema"']],
    ['timm', ['its weights are those under "state_dict"', 'its average is under "state_dict_ema"']],
    [
      'lightning_ema',
      [
        'its weights are those under "state_dict"',
        '"net." was taken off its names',
        '"ema_net." was taken off those of its average',
      ],
    ],
  ])('tells weights and average of %s apart', async (name, said) => {
    const state = await found(name);
    expect(plain(state.weights)).toEqual(values);
    expect(plain(state.average as Map<string, ArrayFile>)).toEqual(averages);
    expect(state.said).toEqual(said);
  });

  it('takes an average that is alone for the weights', async () => {
    const { weights, average, said } = await found('ema_alone');
    expect([plain(weights), average, said]).toEqual([averages, undefined, ['its weights are those under "ema"']]);
  });

  it.each([
    ['unclear', 'holds state dicts under "generator", "discriminator", and which is meant is unclear'],
    ['unclear_prefix', 'holds the network under the prefixes "left.", "right.", and which is meant is unclear'],
  ])('refuses %s by the names that it holds', async (name, message) => {
    const error = await found(name).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toContain(message);
  });

  const one: ArrayFile = { shape: [1], dtype: 'f32', data: new Float32Array(1) };
  it.each<[string, TorchValue, string]>([
    ['no dictionary', [1], 'is no checkpoint: it holds no dictionary'],
    ['no tensor', new Map([['epoch', 3]]), 'holds no state dict: its keys are "epoch"'],
    ['nothing', new Map(), 'holds no state dict: it is empty'],
    [
      'a number among tensors',
      new Map<string, TorchValue>([
        ['0.bias', one],
        ['0.weight', 1],
      ]),
      '"0.weight" is no tensor',
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
      'a name with and without the prefix of all',
      new Map<string, TorchValue>(['net.0.bias', 'net.0.weight', 'net.1.bias', '0.bias'].map((name) => [name, one])),
      'holds "0.bias" twice, with and without "net."',
    ],
    [
      'two usual keys',
      new Map<string, TorchValue>([
        ['model', new Map([['0.bias', one]])],
        ['state_dict', new Map([['0.bias', one]])],
      ]),
      'holds state dicts under "model", "state_dict"',
    ],
  ])('refuses a file of %s', (_, root, message) => {
    expect(() => findState('x.pth', root, known)).toThrow(`x.pth: ${message}`);
  });

  it('a name of a million parts takes no time', () => {
    const long = `${'a.'.repeat(1_000_000)}0.bias`;
    const before = process.cpuUsage();
    const { weights } = findState('x.pth', new Map([[long, one]]), known);
    expect([...weights.keys()]).toEqual(['0.bias']);
    // Microseconds of the processor, whatever else it does.
    expect(process.cpuUsage(before).user).toBeLessThan(2e6);
  });

  it('leaves names that the network does not have as they are', () => {
    const root = new Map<string, TorchValue>(
      ['net.0.bias', 'net.0.weight', 'loss.scale', 'net.extra'].map((name) => [name, one]),
    );
    expect([...findState('x.pth', root, known).weights.keys()]).toEqual(['0.bias', '0.weight', 'loss.scale', 'extra']);
  });
});

describe('objects beside tensors', () => {
  it('become the data that they are made of', async () => {
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

  it('tensors lose their attributes and keep their numbers', async () => {
    const root = (await readPth(fixture('attributes'))) as Map<string, ArrayFile | Map<string, ArrayFile>>;
    expect([...(root.get('tensor') as ArrayFile).data]).toEqual([0, 1, 2]);
    expect([...(root.get('parameter') as ArrayFile).data]).toEqual([0, 1]);
    expect([...(root.get('buffer') as ArrayFile).data]).toEqual([0, 1, 2, 3]);
    expect([...((root.get('state') as Map<string, ArrayFile>).get('count') as ArrayFile).data]).toEqual([0, 1, 2, 3]);
  });

  it("a trainer's own class of tensors is refused by name", async () => {
    await expect(readPth(fixture('own_class'))).rejects.toThrow('refused: trainer.Ours; pickles are read as data');
  });

  it('inspect shows them', async () => {
    const { values } = await inspectFile(fixture('lightning'));
    expect(values).toContainEqual(['hyper_parameters.data', '/data/x']);
    expect(values).toContainEqual(['pytorch-lightning_version', '2.5.0']);
  });
});
