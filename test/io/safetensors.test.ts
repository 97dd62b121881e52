// Safetensors files: files written by the reference implementation, round trips, and false headers.
import { readFile, truncate, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError, ValueError } from '../../src/errors.ts';
import { type ArrayDtype, type ArrayFile, arrayDtypes } from '../../src/io/array.ts';
import {
  decodeSafetensors,
  encodeSafetensors,
  readSafetensors,
  readSafetensorsHeader,
  toFloat32,
  writeSafetensors,
} from '../../src/io/index.ts';
import { damaged, fixture, readFixture, temporaryFolder } from './files.ts';

function safetensors(header: unknown, dataBytes: number, length?: bigint): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([start, json, Buffer.alloc(dataBytes)]);
}

describe('files written by the reference implementation', () => {
  it('reads every dtype that NumPy has', async () => {
    const { metadata, tensors } = await readSafetensors(fixture('numpy.safetensors'));
    expect(metadata).toEqual({ step: '7', name: 'é' });
    expect(Object.fromEntries(tensors)).toEqual({
      1: { shape: [3], dtype: 'i64', data: BigInt64Array.of(0n, 1n, 2n) },
      nothing: { shape: [0, 7], dtype: 'f32', data: new Float32Array(0) },
      weight: { shape: [3, 4], dtype: 'f32', data: Float32Array.from({ length: 12 }, (_, i) => i / 2) },
      half: { shape: [2], dtype: 'f16', data: Uint16Array.of(0x3e00, 0xb400) },
      mask: { shape: [2], dtype: 'bool', data: Uint8Array.of(1, 0) },
    });
  });

  it('reads bf16 as bits', async () => {
    const { tensors } = await readSafetensors(fixture('bf16.safetensors'));
    expect([...toFloat32(tensors.get('x') as ArrayFile)]).toEqual([1.5, -2]);
  });

  it('refuses an unknown dtype by name', async () => {
    await expect(readSafetensorsHeader(fixture('f8.safetensors'))).rejects.toThrow(/tensor "x" has dtype "F8_E4M3"/);
  });

  it('reads one tensor without the others', async () => {
    const { tensors } = await readSafetensors(fixture('numpy.safetensors'), ['mask']);
    expect([...tensors.keys()]).toEqual(['mask']);
    await expect(readSafetensors(fixture('numpy.safetensors'), ['bias'])).rejects.toThrow(/no tensor "bias"/);
  });

  it('writes the bytes that the reference implementation writes', async () => {
    const path = `${await temporaryFolder()}/a.safetensors`;
    const { metadata, tensors } = await readSafetensors(fixture('numpy.safetensors'));
    await writeSafetensors(path, tensors, metadata);
    expect(await readFile(path)).toEqual(await readFixture('numpy.safetensors'));
    expect(Buffer.from(encodeSafetensors(tensors, metadata))).toEqual(await readFixture('numpy.safetensors'));
  });

  it.each([0, 1, 4])('decodes bytes in memory, %s bytes into a buffer', async (offset) => {
    const bytes = await readFixture('numpy.safetensors');
    const inside = new Uint8Array(offset + bytes.length).subarray(offset);
    inside.set(bytes);
    expect(decodeSafetensors(inside)).toEqual(await readSafetensors(fixture('numpy.safetensors')));
  });
});

describe('writing', () => {
  const dtypes = Object.keys(arrayDtypes) as ArrayDtype[];
  const tensor = fc
    .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(3), { maxLength: 3 }) })
    .chain(({ dtype, shape }) => {
      const length = shape.reduce((product, dim) => product * dim, arrayDtypes[dtype].bytes);
      return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes): ArrayFile => {
        return { shape, dtype, data: new arrayDtypes[dtype].array(bytes.slice().buffer) };
      });
    });
  const name = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('__proto__', '10', '2', 'toString', '"\\'));
  const bits = (array: ArrayFile) => [array.dtype, array.shape, Buffer.from(array.data.buffer).toString('hex')];

  it('keeps every name, bit and metadata entry, and aligns tensors', async () => {
    const path = `${await temporaryFolder()}/a.safetensors`;
    const tensors = fc.uniqueArray(fc.tuple(name, tensor), { selector: ([key]) => key, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(tensors, fc.dictionary(name, fc.string()), async (entries, metadata) => {
        await writeSafetensors(path, new Map(entries), metadata);
        const read = await readSafetensors(path);
        expect(Object.entries(read.metadata).sort()).toEqual(Object.entries(metadata).sort());
        expect(read.tensors.size).toBe(entries.length);
        for (const [key, array] of entries) expect(bits(read.tensors.get(key) as ArrayFile)).toEqual(bits(array));
        for (const { dtype, begin } of (await readSafetensorsHeader(path)).tensors.values())
          expect(begin % arrayDtypes[dtype].bytes).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses what could not be read back', async () => {
    const path = `${await temporaryFolder()}/a.safetensors`;
    const one: ArrayFile = { shape: [1], dtype: 'f32', data: new Float32Array(1) };
    await expect(writeSafetensors(path, { __metadata__: one })).rejects.toThrow(ValueError);
    await expect(writeSafetensors(path, { x: { ...one, shape: [2] } })).rejects.toThrow(/shape \[2\] holds 1 values/);
    await expect(writeSafetensors(path, {}, { step: 3 as never })).rejects.toThrow(
      /metadata "step" to be a string, got 3/,
    );
  });
});

describe('hostile files', () => {
  const x = { dtype: 'U8', shape: [4], data_offsets: [0, 4] };
  const y = { dtype: 'U8', shape: [4], data_offsets: [4, 8] };
  const cases: [what: string, bytes: Uint8Array, message: RegExp][] = [
    ['a header longer than the file', safetensors({ x }, 4, 1000n), /declares a header of 1000 bytes/],
    ['a header of 2^63 bytes', safetensors({ x }, 4, 2n ** 63n), /declares a header/],
    ['a file of 3 bytes', Uint8Array.of(1, 2, 3), /shorter than 8 bytes/],
    ['a truncated file', safetensors({ x }, 3), /truncated or damaged/],
    ['surplus bytes', safetensors({ x }, 5), /truncated or damaged/],
    ['an overlap', safetensors({ x, y: { ...y, data_offsets: [3, 7] } }, 7), /"y" overlaps another/],
    ['the same bytes twice', safetensors({ x, y: x }, 4), /"y" overlaps another/],
    ['a hole', safetensors({ x, y: { ...y, data_offsets: [5, 9] } }, 9), /"y" follows a hole/],
    ['a wrong size', safetensors({ x: { ...x, shape: [5] } }, 4), /spans 4 bytes instead of 5/],
    ['an overflowing shape', safetensors({ x: { ...x, shape: [2 ** 50, 2 ** 50] } }, 4), /instead of any size/],
    ['a negative dimension', safetensors({ x: { ...x, shape: [-2, -2] } }, 4), /not a list of sizes/],
    ['reversed offsets', safetensors({ x: { ...x, data_offsets: [4, 0] } }, 4), /spans -4 bytes/],
    ['a fractional offset', safetensors({ x: { ...x, data_offsets: [0.5, 4.5] } }, 4), /not a pair of sizes/],
    ['three offsets', safetensors({ x: { ...x, data_offsets: [0, 4, 4] } }, 4), /not a pair of sizes/],
    ['an unknown key', safetensors({ x: { ...x, extra: 1 } }, 4), /unknown key "extra"/],
    ['a tensor that is null', safetensors({ x: null }, 0), /no description/],
    ['metadata that are not strings', safetensors({ __metadata__: { a: 1 } }, 0), /not an object of strings/],
    ['a tensor twice', safetensors(`{"x":${JSON.stringify(x)},"\\u0078":${JSON.stringify(x)}}`, 4), /"x" occurs twice/],
    ['a key twice', safetensors('{"x":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0), /twice/],
    ['a list', safetensors('[]', 0), /does not begin with \{/],
    ['leading space', safetensors(' {}', 0), /does not begin with \{/],
    ['invalid JSON', safetensors('{"x":', 0), /damaged header/],
    ['deep nesting', safetensors(`{"x":${'['.repeat(1e6)}`, 0), /damaged header/],
    ['wrong UTF-8', safetensors('{"\xff":0}', 0).map((b) => (b === 0xc3 ? 0xff : b)), /damaged header/],
  ];
  it.each(cases)('refuses %s', async (_, bytes, message) => {
    const path = `${await temporaryFolder()}/x.safetensors`;
    await writeFile(path, bytes);
    await expect(readSafetensors(path)).rejects.toThrow(FileError);
    await expect(readSafetensors(path)).rejects.toThrow(message);
    expect(() => decodeSafetensors(bytes)).toThrow(FileError);
    expect(() => decodeSafetensors(bytes)).toThrow(message);
  });

  it('allocates nothing for a size that the file does not have', async () => {
    const path = `${await temporaryFolder()}/sparse.safetensors`;
    const huge = { x: { dtype: 'F32', shape: [2 ** 38], data_offsets: [0, 2 ** 40] } };
    await writeFile(path, safetensors(huge, 0));
    await expect(readSafetensors(path)).rejects.toThrow(/truncated or damaged/);
    // A sparse file of 200 MB with a header length beyond the limit.
    await writeFile(path, safetensors('{}', 0, 150_000_000n));
    await truncate(path, 200_000_000);
    await expect(readSafetensors(path)).rejects.toThrow(/declares a header of 150000000 bytes/);
  });

  it('reads or refuses every damaged copy', async () => {
    const path = `${await temporaryFolder()}/damaged.safetensors`;
    for (const { what, bytes } of damaged(await readFixture('numpy.safetensors'))) {
      await writeFile(path, bytes);
      const result = await readSafetensors(path).catch((problem) => problem);
      if (!('tensors' in result)) expect(result, what).toBeInstanceOf(FileError);
    }
  });
});
