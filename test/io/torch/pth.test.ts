// .pth files: files written by PyTorch, round trips, files that PyTorch reads, and refused files.
import { execFile } from 'node:child_process';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError, ValueError } from '../../../src/errors.ts';
import { type ArrayDtype, type ArrayFile, arrayDtypes } from '../../../src/io/array.ts';
import {
  Float,
  OrderedDict,
  readPth,
  type TorchInput,
  type TorchValue,
  Tuple,
  toFloat32,
  writePth,
} from '../../../src/io/index.ts';
import { fixture, readFixture, temporaryFolder } from '../files.ts';

const to24 = Array.from({ length: 24 }, (_, i) => i);

async function readDict(name: string): Promise<Map<string | number, TorchValue>> {
  return (await readPth(fixture(name))) as Map<string | number, TorchValue>;
}

/** dtype, shape and values, as plain lists. */
function plain(array: TorchValue | undefined): [ArrayDtype, readonly number[], (number | bigint)[]] {
  const { dtype, shape, data } = array as ArrayFile;
  return [dtype, shape, Array.from<number | bigint>(data as never)];
}

describe('files written by PyTorch', () => {
  const files = ['torch_zip.pth', 'torch_zip_protocol4.pth', 'torch_legacy.pth'];

  it.each(files)('reads the plain data of %s', async (name) => {
    const value = await readDict(name);
    expect([...value].slice(0, 11)).toEqual([
      ['none', null],
      ['yes', true],
      ['int', -7],
      ['big', 2n ** 70n],
      ['float', 0.1],
      ['whole', 3],
      ['text', 'é'],
      ['list', [1, [2]]],
      ['tuple', Tuple.of(0.9, 0.999)],
      [5, 'number key'],
      ['ordered', new OrderedDict(Object.entries({ b: 1, a: 2 }))],
    ]);
    expect(value.get('tuple')).toBeInstanceOf(Tuple);
    expect(value.get('list')).not.toBeInstanceOf(Tuple);
    expect(value.get('ordered')).toBeInstanceOf(OrderedDict);
    expect([...(value.get('ordered') as Map<string, number>).keys()]).toEqual(['b', 'a']);
    expect(value.get('size')).toEqual(Tuple.of(1, 2));
    expect([value.get('device'), value.get('dtype')]).toEqual(['cuda:1', 'torch.bfloat16']);
  });

  it.each(files)('reads every tensor of %s', async (name) => {
    const value = await readDict(name);
    const at = (i: number, j: number, k: number) => 12 * i + 4 * j + k;
    const tensors: [string, ArrayDtype, number[], (number | bigint)[]][] = [
      ['f32', 'f32', [2, 3, 4], to24.map((i) => i / 4 - 1)],
      ['f64', 'f64', [2, 3, 4], to24.map((i) => i / 8)],
      ['i64', 'i64', [2], [-(2n ** 63n), 2n ** 63n - 1n]],
      ['i32', 'i32', [1], [-5]],
      ['i16', 'i16', [1], [-5]],
      ['i8', 'i8', [1], [-5]],
      ['u8', 'u8', [1], [250]],
      ['bool', 'bool', [2], [1, 0]],
      ['expanded', 'i64', [2, 3], [1n, 1n, 1n, 2n, 2n, 2n]],
      ['window', 'i64', [2, 2], [at(1, 1, 0), at(1, 1, 2), at(1, 2, 0), at(1, 2, 2)].map(BigInt)],
      ['table', 'f32', [6], [0, 1, 2, 3, 4, 5]],
      ['row', 'f32', [2], [2, 3]],
      ['scalar', 'f32', [], [2.5]],
      ['empty', 'f32', [0, 3], []],
      ['parameter', 'f32', [2], [1, 1]],
    ];
    for (const [key, ...expected] of tensors) expect(plain(value.get(key)), key).toEqual(expected);
    const transposed = [0, 1, 2, 3].flatMap((k) => [0, 1].flatMap((i) => [0, 1, 2].map((j) => BigInt(at(i, j, k)))));
    expect(plain(value.get('transposed'))).toEqual(['i64', [4, 2, 3], transposed]);
    expect([...toFloat32(value.get('f16') as ArrayFile)]).toEqual([0.5, -2, 65504, 2 ** -24, Number.POSITIVE_INFINITY]);
    expect([...toFloat32(value.get('bf16') as ArrayFile)]).toEqual([1.5, -2]);
    const { data: table } = value.get('table') as ArrayFile;
    expect((value.get('row') as ArrayFile).data.buffer).toBe(table.buffer);
    const state = value.get('state_dict') as Map<string, TorchValue>;
    expect([...state.keys()].slice(0, 3)).toEqual(['0.weight', '0.bias', '1.weight']);
    expect(plain(state.get('0.weight'))).toEqual(['f32', [1, 2], [0.5, -2]]);
    expect(plain(state.get('1.num_batches_tracked'))).toEqual(['i64', [], [0n]]);
  });

  it.each(['torch_newer.pth', 'torch_newer_protocol5.pth'])('reads wide integers and NumPy in %s', async (name) => {
    const value = await readDict(name);
    expect(plain(value.get('u16'))).toEqual(['u16', [1], [65535]]);
    expect(plain(value.get('u32'))).toEqual(['u32', [1], [2 ** 32 - 1]]);
    expect(plain(value.get('u64'))).toEqual(['u64', [1], [2n ** 64n - 1n]]);
    const scalars = ['np_f64', 'np_f32', 'np_i64', 'np_bool'].map((key) => value.get(key));
    expect(scalars).toEqual([2e-4, 0.5, -3, true]);
    expect(plain(value.get('np_array'))).toEqual(['i32', [2, 3], [0, 1, 2, 3, 4, 5]]);
    expect(plain(value.get('np_fortran'))).toEqual(['f64', [2, 3], [0, 1, 2, 3, 4, 5]]);
    expect(plain(value.get('np_big_endian'))).toEqual(['f32', [3], [0, 1, 2]]);
  });

  it.each(['torch_tensor.pth', 'torch_big_endian.pth'])('reads the tensor of %s', async (name) => {
    expect(plain(await readPth(fixture(name)))).toEqual(['f32', [6], [0, 1, 2, 3, 4, 5]]);
  });

  it('reads text of Python 2 and files of candle', async () => {
    expect(plain((await readDict('torch_python2.pth')).get('weight'))).toEqual(['f32', [6], [0, 1, 2, 3, 4, 5]]);
    expect(plain((await readDict('candle_fortran_tensor_3d.pth')).get('tensor_fortran'))).toEqual([
      'i64',
      [2, 3, 4],
      to24.map((i) => BigInt(i + 1)),
    ]);
    const keyed = (await readDict('candle_test_with_key.pth')).get('model_state_dict') as Map<string, TorchValue>;
    expect(plain(keyed.get('test'))).toEqual(['i64', [2, 4], to24.slice(1, 9).map(BigInt)]);
  });

  it.each([
    ['torch_module.pth', /refused: torch\.nn\.modules\.container\.Sequential; .* no code in them is run/],
    ['torch_complex.pth', /refused: torch\.ComplexFloatStorage/],
    ['torch_float8.pth', /refused: torch\.float8_e4m3fn/],
    ['torch_quantised.pth', /refused: torch\._utils\._rebuild_qtensor/],
    ['torch_sparse.pth', /refused: torch\._utils\._rebuild_sparse_tensor/],
    ['torch_script.pth', /TorchScript program; save its state_dict\(\)/],
    ['stored.npz', /has no <name>\/data\.pkl/],
    ['f32.npy', /is not a PyTorch file/],
  ])('refuses %s and says why', async (name, message) => {
    const error = await readPth(fixture(name)).catch((problem) => problem);
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toMatch(message);
    expect(error.message.startsWith(fixture(name))).toBe(true);
  });
});

const dtypes = Object.keys(arrayDtypes) as ArrayDtype[];
const array = fc
  .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(3), { maxLength: 4 }) })
  .chain(({ dtype, shape }) => {
    const length = shape.reduce((product, dim) => product * dim, arrayDtypes[dtype].bytes);
    return fc
      .uint8Array({ minLength: length, maxLength: length })
      .map((bytes): ArrayFile => ({ shape, dtype, data: new arrayDtypes[dtype].array(bytes.slice().buffer) }));
  });
const key = fc.oneof(fc.string({ unit: 'grapheme' }), fc.maxSafeInteger(), fc.constant('__proto__'));
const { value: anyValue } = fc.letrec<{ value: TorchValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.double(),
      fc.maxSafeInteger(),
      fc.bigInt().filter((value) => !Number.isSafeInteger(Number(value))),
      fc.string({ unit: 'grapheme' }),
      array,
    ),
    fc.array(tie('value')),
    fc.array(tie('value')).map((items) => Tuple.from(items)),
    fc.array(fc.tuple(key, tie('value'))).map((items) => new Map(items)),
    fc.array(fc.tuple(key, tie('value'))).map((items) => new OrderedDict(items)),
  ) as fc.Arbitrary<TorchValue>,
}));

describe('writing', () => {
  it('keeps every value and bit, and writes the same bytes again', async () => {
    const folder = await temporaryFolder();
    await fc.assert(
      fc.asyncProperty(anyValue, async (value) => {
        await writePth(`${folder}/a.pth`, value);
        const copy = await readPth(`${folder}/a.pth`);
        expect(copy).toStrictEqual(value);
        await writePth(`${folder}/b.pth`, copy);
        expect(await readFile(`${folder}/b.pth`)).toEqual(await readFile(`${folder}/a.pth`));
      }),
      { numRuns: 50 },
    );
    expect(await readdir(folder)).toEqual(['a.pth', 'b.pth']);
  });

  it('writes arrays over the same bytes once, and views without the rest of their buffer', async () => {
    const path = `${await temporaryFolder()}/a.pth`;
    const arena = new Float32Array(1e6);
    const window: ArrayFile = { shape: [2, 2], dtype: 'f32', data: arena.subarray(4, 8) };
    await writePth(path, [window, { ...window, shape: [4] }]);
    expect((await readFile(path)).length).toBeLessThan(2000);
    const [first, second] = (await readPth(path)) as ArrayFile[];
    expect([first.shape, second.shape]).toEqual([[2, 2], [4]]);
    expect(first.data.buffer).toBe(second.data.buffer);
  });

  it('aligns storages to 64 bytes', async () => {
    const path = `${await temporaryFolder()}/a.pth`;
    await writePth(
      path,
      [Float32Array.of(1.25), Float32Array.of(2.5)].map((data) => ({ shape: [1], dtype: 'f32', data })),
    );
    const bytes = await readFile(path);
    for (const value of [1.25, 2.5]) expect(bytes.indexOf(Buffer.from(Float32Array.of(value).buffer)) % 64).toBe(0);
  });

  it.each<[string, unknown, RegExp]>([
    ['a plain object', { a: 1 }, /at "" is of a kind .* use a Map for a dict/],
    ['undefined within', new Map([['a', [undefined]]]), /at "a\.0" is of a kind/],
    ['half a surrogate pair', '\ud800', /not valid Unicode/],
    ['data that do not fit', { shape: [3], dtype: 'f32', data: new Float32Array(2) }, /holds 2 values/],
    ['a huge integer', 1n << 3000n, /more than 255 bytes/],
  ])('refuses %s', async (_, value, message) => {
    const folder = await temporaryFolder();
    const error = await writePth(`${folder}/a.pth`, value as TorchInput).catch((problem) => problem);
    expect(error).toBeInstanceOf(ValueError);
    expect(error.message).toMatch(message);
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuses a value that contains itself', async () => {
    const list: TorchValue[] = [];
    list.push(list);
    await expect(writePth('/nowhere/a.pth', list)).rejects.toThrow(/nested deeper/);
  });
});

const python = process.env.RECTIFLOW_TORCH_PYTHON;

describe.skipIf(!python)('PyTorch itself (RECTIFLOW_TORCH_PYTHON)', () => {
  it('loads what writePth writes, with weights_only and with mmap', async () => {
    const path = `${await temporaryFolder()}/a.pth`;
    const value = new Map<string | number, TorchInput>([
      ...dtypes.map((dtype): [string, ArrayFile] => {
        return [
          dtype,
          { shape: [2, 1], dtype, data: new arrayDtypes[dtype].array(new Uint8Array(16).fill(1).buffer, 0, 2) },
        ];
      }),
      ['scalar', { shape: [], dtype: 'f32', data: Float32Array.of(2.5) }],
      ['empty', { shape: [0, 3], dtype: 'f32', data: new Float32Array(0) }],
      ['numbers', [0, 255, 256, -1, 2 ** 31, -(2n ** 70n), 0.1, -0, new Float(1)]],
      ['others', Tuple.of<TorchInput>(null, true, 'é', new Map([[5, Tuple.of()]]))],
      ['ordered', new OrderedDict([['a', 1]])],
    ]);
    await writePth(path, value);
    const script = `
import sys, torch
for mmap in (False, True):
    for key, value in torch.load(sys.argv[1], weights_only=True, mmap=mmap).items():
        tensor = isinstance(value, torch.Tensor)
        print(key, (value.dtype, tuple(value.shape), value.stride(), value.tolist()) if tensor else repr(value))`;
    const { stdout } = await promisify(execFile)(python as string, ['-c', script, path]);
    const lines = stdout.trim().split('\n');
    expect(lines.slice(lines.length / 2)).toEqual(lines.slice(0, lines.length / 2));
    const found = new Map(lines.map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]));
    expect(found.get('i32')).toBe('(torch.int32, (2, 1), (1, 1), [[16843009], [16843009]])');
    expect(found.get('u64')).toBe('(torch.uint64, (2, 1), (1, 1), [[72340172838076673], [72340172838076673]])');
    expect(found.get('bool')).toBe('(torch.bool, (2, 1), (1, 1), [[True], [True]])');
    expect(found.get('scalar')).toBe('(torch.float32, (), (), 2.5)');
    expect(found.get('empty')).toMatch(/^\(torch\.float32, \(0, 3\), /);
    expect(found.get('numbers')).toBe('[0, 255, 256, -1, 2147483648, -1180591620717411303424, 0.1, -0.0, 1.0]');
    expect(found.get('others')).toBe("(None, True, 'é', {5: ()})");
    expect(found.get('ordered')).toMatch(/^OrderedDict/);
    expect(found.size).toBe(dtypes.length + 5);
  });
});

describe('damaged files', () => {
  it('names a missing file, a folder and a truncated file', async () => {
    const folder = await temporaryFolder();
    await expect(readPth(`${folder}/none.pth`)).rejects.toThrow(/none\.pth: no such file/);
    await expect(readPth(folder)).rejects.toThrow(/not a regular file/);
    for (const name of ['torch_zip.pth', 'torch_legacy.pth']) {
      const bytes = await readFixture(name);
      for (const length of [0, 1, 2, 100, bytes.length - 30]) {
        await writeFile(`${folder}/cut.pth`, bytes.subarray(0, length));
        await expect(readPth(`${folder}/cut.pth`), `${name} ${length}`).rejects.toThrow(FileError);
      }
    }
  });

  it('detects a single wrong bit of a tensor', async () => {
    const path = `${await temporaryFolder()}/a.pth`;
    const bytes = Buffer.from(await readFixture('torch_tensor.pth'));
    bytes[bytes.indexOf(Buffer.from(Float32Array.of(4, 5).buffer))] ^= 1;
    await writeFile(path, bytes);
    await expect(readPth(path)).rejects.toThrow(/data\/0" fails its checksum/);
  });

  it('reads a sparse file of several GiB without allocating its size', async () => {
    const path = `${await temporaryFolder()}/huge.pth`;
    await writeFile(path, await readFixture('torch_legacy.pth'));
    const file = await open(path, 'r+');
    await file.truncate(2 ** 33);
    await file.close();
    const before = process.memoryUsage().rss;
    expect(await readPth(path)).toEqual(await readPth(fixture('torch_legacy.pth')));
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 28);
  });
});
