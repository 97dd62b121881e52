// .npy files: files written by NumPy, round trips, and refused files.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError, ValueError } from '../../../src/errors.ts';
import { type ArrayDtype, type ArrayFile, arrayDtypes } from '../../../src/io/array.ts';
import { decodeNpy, encodeNpy, readNpy, toFloat32, writeNpy } from '../../../src/io/index.ts';
import { damaged, fixture, readFixture, temporaryFolder } from '../files.ts';

const to24 = Array.from({ length: 24 }, (_, i) => i);

function npy(literal: string, elements: Uint8Array, version = 1): Uint8Array {
  const header = new TextEncoder().encode(literal);
  const length = version === 1 ? [header.length & 255, header.length >> 8] : [header.length, 0, 0, 0];
  return Uint8Array.of(0x93, ...new TextEncoder().encode('NUMPY'), version, 0, ...length, ...header, ...elements);
}

describe('files written by NumPy', () => {
  const cases: [name: string, dtype: ArrayDtype, shape: number[], values: ArrayLike<number | bigint>][] = [
    ['f32', 'f32', [2, 3, 4], to24.map((i) => i / 4 - 1)],
    ['f32_fortran', 'f32', [2, 3, 4], to24],
    ['f32_big_endian_fortran', 'f32', [2, 3, 4], to24],
    ['i16_big_endian', 'i16', [3, 4], to24.slice(0, 12).map((i) => i - 5)],
    ['u64', 'u64', [2], [0n, 2n ** 64n - 1n]],
    ['i64', 'i64', [2], [-(2n ** 63n), 2n ** 63n - 1n]],
    ['bool', 'bool', [3], [1, 0, 1]],
    ['scalar', 'f64', [], [2.5]],
    ['empty', 'i32', [0, 3], []],
    ['version2', 'u8', [3, 4], to24.slice(0, 12)],
    ['version3', 'u32', [3, 4], to24.slice(0, 12)],
  ];
  it.each(cases)('reads %s', async (name, dtype, shape, values) => {
    const array = await readNpy(fixture(`${name}.npy`));
    expect([array.dtype, array.shape, Array.from<number | bigint>(array.data as never)]).toEqual([
      dtype,
      shape,
      Array.from(values),
    ]);
  });

  it('reads f16 as bits', async () => {
    const array = decodeNpy(await readFixture('f16.npy'));
    expect(array.dtype).toBe('f16');
    expect([...toFloat32(array)]).toEqual([0.5, -2, 65504, 2 ** -24, Number.POSITIVE_INFINITY]);
  });

  it.each([
    ['object', /pickled Python objects, which are never loaded/],
    ['complex', /elements of type '<c16'/],
    ['text', /elements of type '<U3'/],
    ['record', /records with named fields/],
  ])('refuses %s arrays and says why', async (name, message) => {
    const bytes = await readFixture(`${name}.npy`);
    expect(() => decodeNpy(bytes, 'my.npy')).toThrow(message);
    expect(() => decodeNpy(bytes, 'my.npy')).toThrow(/^my\.npy: /);
  });

  it('writes the bytes that NumPy writes', async () => {
    for (const name of ['f32', 'u64', 'bool', 'scalar', 'empty', 'f16']) {
      const bytes = await readFixture(`${name}.npy`);
      expect(Buffer.from(encodeNpy(decodeNpy(bytes)))).toEqual(Buffer.from(bytes));
    }
  });
});

describe('round trip', () => {
  const npyDtypes = (Object.keys(arrayDtypes) as ArrayDtype[]).filter((dtype) => dtype !== 'bf16');
  const arrays = fc
    .record({ dtype: fc.constantFrom(...npyDtypes), shape: fc.array(fc.nat(4), { maxLength: 5 }) })
    .chain(({ dtype, shape }) => {
      const length = shape.reduce((product, dim) => product * dim, arrayDtypes[dtype].bytes);
      return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): ArrayFile => {
        return { shape, dtype, data: new arrayDtypes[dtype].array(bytes.slice().buffer) };
      });
    });

  it('keeps shape, dtype and every bit', () => {
    fc.assert(
      fc.property(arrays, fc.nat(7), (array, shift) => {
        // Read from any alignment.
        const bytes = encodeNpy(array);
        const shifted = new Uint8Array(bytes.length + shift);
        shifted.set(bytes, shift);
        expect(bytes.length % 64).toBe(array.data.byteLength % 64);
        expect(encodeNpy(decodeNpy(shifted.subarray(shift)))).toEqual(bytes);
        expect(decodeNpy(bytes).shape).toEqual(array.shape);
      }),
    );
  });

  it('survives a round trip through a file', async () => {
    const path = `${await temporaryFolder()}/a.npy`;
    const array: ArrayFile = { shape: [2, 1], dtype: 'i32', data: Int32Array.of(-1, 7) };
    await writeNpy(path, array);
    expect(await readNpy(path)).toEqual(array);
  });

  it('refuses what .npy cannot hold', () => {
    expect(() => encodeNpy({ shape: [1], dtype: 'bf16', data: new Uint16Array(1) })).toThrow(/bf16.*convert it to f32/);
    expect(() => encodeNpy({ shape: [3], dtype: 'f32', data: new Float32Array(2) })).toThrow(ValueError);
    expect(() => encodeNpy({ shape: [2], dtype: 'f32', data: new Int32Array(2) })).toThrow(/needs a Float32Array/);
  });
});

describe('hostile headers', () => {
  const good = "{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }";
  it('accepts the spellings of old NumPy', () => {
    for (const literal of [
      good,
      '{"shape": (2L,), "descr": "|u1", "fortran_order": False}\n',
      "{ 'descr' :'|u1','fortran_order':False,'shape':( 2 , ) }  ",
    ])
      expect(decodeNpy(npy(literal, Uint8Array.of(3, 4))).data).toEqual(Uint8Array.of(3, 4));
  });

  it.each([
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'shape': (1,)}", /twice/],
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (2,), 'x': True}", /exactly the keys/],
    ["{'descr': '|u1', 'fortran_order': False}", /exactly the keys/],
    ["{'descr': '|u1', 'fortran_order': 0, 'shape': (2,)}", /unexpected value/],
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (2)}", /not a tuple/],
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (-2,)}", /not a size/],
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 0)}", /header/],
    [
      "{'descr': '|u1', 'fortran_order': False, 'shape': (9007199254740991, 9007199254740991)}",
      /more than is possible/,
    ],
    ["{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000,)}", /needs 4000000000/],
    ["{'descr': '__proto__', 'fortran_order': False, 'shape': (2,)}", /elements of type/],
    ["{'descr': '|u1', 'fortran_order': False, 'shape': (2,)} or exit()", /continues after/],
    [`{'descr': '|u1', 'fortran_order': False, 'shape': (${'1,'.repeat(70)})}`, /70 dimensions/],
    ["__import__('os').abort()", /lacks a '\{'/],
    ['', /lacks a '\{'/],
  ])('refuses %s', (literal, message) => {
    expect(() => decodeNpy(npy(literal, Uint8Array.of(3, 4)))).toThrow(FileError);
    expect(() => decodeNpy(npy(literal, Uint8Array.of(3, 4)))).toThrow(message);
  });

  it('refuses missing and surplus elements', () => {
    expect(() => decodeNpy(npy(good, Uint8Array.of(1)))).toThrow(/holds 1 bytes.*needs 2/);
    expect(() => decodeNpy(npy(good, Uint8Array.of(1, 2, 3)))).toThrow(/holds 3 bytes.*needs 2/);
  });

  it('reads or refuses every damaged copy', async () => {
    for (const name of ['f32_big_endian_fortran.npy', 'version2.npy'])
      for (const { what, bytes } of damaged(await readFixture(name)))
        try {
          decodeNpy(bytes);
        } catch (error) {
          expect(error, `${name}, ${what}`).toBeInstanceOf(FileError);
        }
  });
});
