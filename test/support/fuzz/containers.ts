// Mutants of containers with corrected checksums and lengths, so that readers reach their contents.
import { crc32, deflateRawSync, deflateSync, gunzipSync, gzipSync, inflateRawSync, inflateSync } from 'node:zlib';
import { type RawEntry, rawZip } from '../hostile_files.ts';
import { borders, type Draw, dims, jsonText, mutateBytes, mutateJson, names, truncate, writeBorder } from './draw.ts';

type Bytes = Buffer;

export interface ZipMember {
  name: string;
  bytes: Bytes;
}

/** The members of a valid archive. */
export function unzip(file: Uint8Array): ZipMember[] {
  const bytes = Buffer.from(file);
  const end = bytes.lastIndexOf('PK\x05\x06');
  const members: ZipMember[] = [];
  let at = bytes.readUInt32LE(end + 16);
  for (let left = bytes.readUInt16LE(end + 10); left > 0; left--) {
    const [nameLength, extra, comment] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field));
    const local = bytes.readUInt32LE(at + 42);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const packed = bytes.subarray(start, start + bytes.readUInt32LE(at + 20));
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    members.push({ name, bytes: Buffer.from(bytes.readUInt16LE(at + 10) === 8 ? inflateRawSync(packed) : packed) });
    at += 46 + nameLength + extra + comment;
  }
  return members;
}

function entryOf({ name, bytes }: ZipMember, packed: boolean): RawEntry {
  return packed
    ? { name, bytes: deflateRawSync(bytes), method: 8, size: bytes.length, crc: crc32(bytes) }
    : { name, bytes };
}

export function zipOf(members: readonly ZipMember[], packed = false): Bytes {
  return Buffer.from(rawZip(members.map((member) => entryOf(member, packed))));
}

/** Fields of the local header, the directory and the end of it: [signature, offset, bytes]. */
const zipFields = [
  ...[4, 6, 8, 26, 28].map((offset) => ['PK\x03\x04', offset, 2] as const),
  ...[14, 18, 22].map((offset) => ['PK\x03\x04', offset, 4] as const),
  ...[4, 6, 8, 10, 28, 30, 32].map((offset) => ['PK\x01\x02', offset, 2] as const),
  ...[16, 20, 24, 42].map((offset) => ['PK\x01\x02', offset, 4] as const),
  ...[4, 6, 8, 10, 20].map((offset) => ['PK\x05\x06', offset, 2] as const),
  ...[12, 16].map((offset) => ['PK\x05\x06', offset, 4] as const),
];

/** @param inner mutates one member's bytes by its name */
export function mutateZip(
  draw: Draw,
  file: Uint8Array,
  inner: (member: ZipMember) => Uint8Array,
  canPack: boolean,
): Bytes {
  const members = unzip(file);
  const which = draw.int(0, members.length - 1);
  const member = members[which];
  const packed = canPack && draw.chance(0.4);
  const withFields = () => {
    const bytes = zipOf(members, packed);
    for (let changes = draw.int(1, 2); changes > 0; changes--) {
      const [signature, offset, size] = draw.pick(zipFields);
      const places = placesOf(bytes, signature);
      if (places.length > 0) writeBorder(draw, bytes, draw.pick(places) + offset, size, 'little');
    }
    return bytes;
  };
  const places = () => {
    const bytes = zipOf(members, packed);
    const all = ['PK\x03\x04', 'PK\x01\x02', 'PK\x05\x06'].flatMap((signature) => placesOf(bytes, signature));
    return truncate(draw, bytes, all);
  };
  const changed = (list: readonly ZipMember[]) => zipOf(list, packed);
  return draw.oneOf<Bytes>([
    [8, () => changed(members.with(which, { ...member, bytes: Buffer.from(inner(member)) }))],
    [1, () => changed(members.toSpliced(which, 1))],
    [1, () => changed([...members, member])],
    [1, () => changed(members.toReversed())],
    [1, () => changed(members.with(which, { ...member, name: member.name.replace(/[^/.]+/, draw.pick(names)) }))],
    [1, () => changed([...members, { name: draw.pick(names), bytes: draw.bytes(8) }])],
    [1, () => changed([...members, { name: '__MACOSX/._x', bytes: draw.bytes(8) }])],
    [2, withFields],
    [1, places],
    [1, () => mutateBytes(draw, changed(members))],
    [1, () => Buffer.concat([draw.bytes(draw.int(1, 40)), changed(members)])],
    [1, () => Buffer.concat([changed(members), draw.bytes(draw.int(1, 40))])],
    [1, () => swapContents(draw, members, changed)],
  ]);
}

function swapContents(draw: Draw, members: readonly ZipMember[], pack: (list: readonly ZipMember[]) => Bytes): Bytes {
  const [a, b] = [draw.int(0, members.length - 1), draw.int(0, members.length - 1)];
  return pack(
    members.with(a, { ...members[a], bytes: members[b].bytes }).with(b, { ...members[b], bytes: members[a].bytes }),
  );
}

function placesOf(bytes: Buffer, signature: string): number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(signature, 0, 'latin1'); at >= 0; at = bytes.indexOf(signature, at + 1, 'latin1'))
    places.push(at);
  return places;
}

const npyTypes = [
  '<f4',
  '>f4',
  '<f2',
  '<f8',
  '|u1',
  '|i1',
  '<u2',
  '<i4',
  '>i8',
  '<u8',
  '|b1',
  '?',
  '|O',
  '<c8',
  '<U5',
  '|V8',
];

export function mutateNpy(draw: Draw, file: Uint8Array): Bytes {
  const bytes = Buffer.from(file);
  if (bytes.length < 12 || bytes.toString('latin1', 1, 6) !== 'NUMPY') return mutateBytes(draw, bytes);
  const start = bytes[6] === 1 ? 10 : 12;
  const length = bytes[6] === 1 ? bytes.readUInt16LE(8) : bytes.readUInt32LE(8);
  const data = bytes.subarray(start + length);
  let literal = bytes.toString('latin1', start, start + length).trimEnd();
  let version = bytes[6];
  let declared: number | undefined;
  let content: Bytes = data;
  const shape = /\(([^)]*)\)/.exec(literal)?.[1].match(/\d+/g) ?? [];
  const setShape = (list: readonly string[]) => {
    literal = literal.replace(/\([^)]*\)/, `(${list.map((dim) => `${dim},`).join(' ')})`);
  };
  for (let changes = draw.pick([1, 1, 2]); changes > 0; changes--)
    draw.oneOf<void>([
      [3, () => setShape(shape.map((dim) => (draw.chance(0.4) ? draw.pick(dims) : dim)))],
      [2, () => setShape(shape.toReversed())],
      [1, () => setShape(draw.chance(0.5) ? [...shape, '1'] : ['1', ...shape])],
      [1, () => setShape(Array.from({ length: draw.pick([0, 1, 5, 33, 65, 200]) }, () => draw.pick(['0', '1', '2'])))],
      [
        3,
        () => {
          literal = literal.replace(/'descr': ?'[^']*'/, `'descr': '${draw.pick(npyTypes)}'`);
        },
      ],
      [
        3,
        () => {
          literal = /: True/.test(literal) ? literal.replace('True', 'False') : literal.replace('False', 'True');
        },
      ],
      [
        1,
        () => {
          literal = draw.pick([
            `${literal}}`,
            `{${literal}`,
            `${literal}#`,
            '{'.repeat(1000),
            '',
            literal.slice(0, -4),
          ]);
        },
      ],
      [
        1,
        () => {
          literal = literal.replace(draw.pick(['descr', 'fortran_order', 'shape']), draw.pick(names));
        },
      ],
      [
        2,
        () => {
          version = draw.pick([1, 2, 3, 0, 4, 255]);
        },
      ],
      [
        1,
        () => {
          declared = Number(draw.pick(borders) % 2n ** 32n);
        },
      ],
      [
        1,
        () => {
          content = Buffer.concat([content, draw.bytes(draw.int(1, 9))]);
        },
      ],
      [
        2,
        () => {
          content = content.subarray(0, draw.int(0, content.length));
        },
      ],
      [
        5,
        () => {
          if (content.length > 0)
            content = Buffer.from(content.with(draw.int(0, content.length - 1), draw.int(0, 255)));
        },
      ],
    ]);
  const text = Buffer.from(`${literal}\n`, 'latin1');
  const head = Buffer.alloc(version === 1 ? 10 : 12);
  head.write('\x93NUMPY', 'latin1');
  head[6] = version;
  if (version === 1) head.writeUInt16LE((declared ?? text.length) & 0xffff, 8);
  else head.writeUInt32LE(declared ?? text.length, 8);
  const whole = Buffer.concat([head, text, content]);
  return draw.oneOf([
    [12, () => whole],
    [1, () => mutateBytes(draw, file)],
    [1, () => truncate(draw, whole, [6, 8, head.length, head.length + text.length])],
  ]);
}

export function safetensorsOf(header: string, data: Uint8Array, declared = BigInt(Buffer.byteLength(header))): Bytes {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt.asUintN(64, declared));
  return Buffer.concat([length, Buffer.from(header), data]);
}

interface TensorHeader {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const stDtypes = ['F32', 'F16', 'BF16', 'F64', 'I64', 'I32', 'I16', 'I8', 'U8', 'U32', 'BOOL', 'F8_E4M3', 'f32', ''];

/** @param metadata mutates a text of the metadata by its key */
export function mutateSafetensors(
  draw: Draw,
  file: Uint8Array,
  metadata: (key: string, text: string) => unknown = (_, text) => text,
): Bytes {
  const bytes = Buffer.from(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header: Record<string, unknown> = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  const data = Buffer.from(bytes.subarray(8 + length));
  const { __metadata__: texts, ...tensors } = header as Record<string, TensorHeader> & {
    __metadata__?: Record<string, string>;
  };
  const all = Object.entries(tensors);
  const text = (list: readonly [string, unknown][], meta: unknown = texts) =>
    `{${[...(meta ? [['__metadata__', meta] as [string, unknown]] : []), ...list].map(([key, value]) => `${JSON.stringify(key)}:${jsonText(value)}`).join(',')}}`;
  const which = draw.int(0, Math.max(0, all.length - 1));
  const one = all[which];
  if (!one) return mutateBytes(draw, bytes);
  const [name, entry] = one;
  const [begin, end] = entry.data_offsets;
  const changed = (value: unknown, key = name) =>
    safetensorsOf(text(all.with(which, [key, value as TensorHeader])), data);
  const withTexts = () => {
    const keys = Object.keys(texts ?? {});
    const key = keys.length > 0 ? draw.pick(keys) : 'x';
    return safetensorsOf(text(all, { ...texts, [key]: metadata(key, texts?.[key] ?? '') }), data);
  };
  const withoutOne = () => {
    const gap = end - begin;
    const rest = all.toSpliced(which, 1).map(
      ([
        key,
        {
          data_offsets: [a, b],
          ...others
        },
      ]): [string, TensorHeader] => [key, { ...others, data_offsets: a >= end ? [a - gap, b - gap] : [a, b] }],
    );
    return safetensorsOf(text(rest), Buffer.concat([data.subarray(0, begin), data.subarray(end)]));
  };
  const value = () => {
    if (data.length > 0) writeBorder(draw, data, draw.int(0, data.length - 1), draw.pick([1, 2, 4]));
    return safetensorsOf(text(all), data);
  };
  return draw.oneOf<Bytes>([
    [6, withTexts],
    [2, () => changed({ ...entry, dtype: draw.pick(stDtypes) })],
    [2, () => changed({ ...entry, shape: entry.shape.toReversed() })],
    [1, () => changed({ ...entry, shape: [...entry.shape, 1] })],
    [1, () => changed({ ...entry, shape: entry.shape.map((dim) => draw.pick([dim, 0, -1, 2 ** 31, 2 ** 53, 1.5])) })],
    [1, () => changed({ ...entry, data_offsets: [begin + draw.pick([-4, 4, 2 ** 53]), end] })],
    [
      1,
      () =>
        changed({ ...entry, data_offsets: draw.pick([[end, begin], [begin], [0, 0], [begin, 2 ** 60], ['0', '4']]) }),
    ],
    [1, () => changed(mutateJson(draw, entry, 0.3))],
    [2, () => changed(entry, draw.pick(names))],
    [1, () => safetensorsOf(text([...all, one]), data)],
    [2, () => safetensorsOf(text(draw.chance(0.5) ? all.toReversed() : all), data)],
    [1, withoutOne],
    [3, value],
    [1, () => safetensorsOf(text(all, draw.pick([null, [], 'x', 5, { a: 1 }, { format: 'x' }])), data)],
    [1, () => safetensorsOf(text(all), data, draw.pick(borders))],
    [1, () => truncate(draw, safetensorsOf(text(all), data), [0, 7, 8, 9, 8 + length, 8 + length + begin])],
    [1, () => safetensorsOf(text(all), Buffer.concat([data, draw.bytes(4)]))],
    [1, () => safetensorsOf(jsonText(mutateJson(draw, header, 0.02)), data)],
    [1, () => mutateBytes(draw, bytes)],
  ]);
}

const pngTypes = [
  'tEXt',
  'zTXt',
  'iCCP',
  'tRNS',
  'PLTE',
  'acTL',
  'fcTL',
  'fdAT',
  'pHYs',
  'eXIf',
  'gAMA',
  'IDAT',
  'IEND',
  'aaaa',
];

export function mutatePng(draw: Draw, file: Uint8Array): Bytes {
  const bytes = Buffer.from(file);
  if (draw.chance(0.1)) return mutateBytes(draw, bytes);
  const chunks: { type: string; body: Bytes }[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    chunks.push({
      type: bytes.toString('latin1', at + 4, at + 8),
      body: Buffer.from(bytes.subarray(at + 8, at + 8 + length)),
    });
    at += 12 + length;
  }
  const header = chunks[0].body;
  const which = draw.int(0, chunks.length - 1);
  const random = () => ({
    type: draw.pick(pngTypes),
    body: draw.pick([
      Buffer.from(`name\0\0${'x'.repeat(draw.int(0, 900))}`),
      draw.bytes(draw.int(0, 40)),
      deflateSync(Buffer.alloc(draw.int(0, 1e5))),
    ]),
  });
  const isPixels = ({ type }: { type: string }) => type === 'IDAT';
  const raw = inflateSync(Buffer.concat(chunks.filter(isPixels).map(({ body }) => body)));
  const pixels = () => {
    const changed = draw.chance(0.6) ? raw.with(draw.int(0, raw.length - 1), draw.int(0, 255)) : mutateBytes(draw, raw);
    const packed = deflateSync(changed, { level: draw.int(0, 9) });
    const parts = draw.chance(0.3) ? [packed.subarray(0, 5), packed.subarray(5)] : [packed];
    const at = chunks.findIndex(isPixels);
    if (at >= 0) chunks.splice(at, chunks.filter(isPixels).length, ...parts.map((body) => ({ type: 'IDAT', body })));
  };
  for (let changes = draw.int(1, 2); changes > 0; changes--)
    draw.oneOf<unknown>([
      [5, pixels],
      [2, () => writeBorder(draw, header, draw.pick([0, 4]), 4, 'big')],
      [2, () => header.writeUInt8(draw.pick([0, 1, 2, 3, 4, 6, 8, 16, 255]), draw.int(8, 12))],
      [1, () => chunks.splice(which, 1)],
      [1, () => chunks.splice(which, 0, draw.pick(chunks))],
      [3, () => chunks.splice(Math.max(1, which), 0, random())],
      [1, () => chunks[which] && Object.assign(chunks[which], { body: mutateBytes(draw, chunks[which].body) })],
      [1, () => chunks[which] && Object.assign(chunks[which], { body: Buffer.alloc(0) })],
    ]);
  const packed = Buffer.concat([bytes.subarray(0, 8), ...chunks.map(({ type, body }) => pngChunk(type, body))]);
  return draw.chance(0.1) ? truncate(draw, packed, [8, 16, 33, packed.length - 12]) : packed;
}

function pngChunk(type: string, body: Uint8Array): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), body, Buffer.alloc(4)]);
  bytes.writeUInt32BE(body.length, 0);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, -4)), bytes.length - 4);
  return bytes;
}

/** Packs again by gzip, with a header or an end that may be false, in several parts, or with trailing data. */
export function mutateGzip(draw: Draw, plain: Uint8Array): Bytes {
  const packed = Buffer.from(gzipSync(plain, { level: draw.pick([0, 1, 9]) }));
  const half = plain.length >> 1;
  const withName = () =>
    Buffer.concat([
      packed.subarray(0, 3),
      Buffer.from([8]),
      packed.subarray(4, 10),
      Buffer.from('a\x1b[1mb\0'),
      packed.subarray(10),
    ]);
  return draw.oneOf<Bytes>([
    [10, () => packed],
    [2, () => Buffer.concat([gzipSync(plain.subarray(0, half)), gzipSync(plain.subarray(half))])],
    [2, withName],
    [1, () => Buffer.concat([packed, Buffer.alloc(draw.int(1, 600))])],
    [1, () => Buffer.concat([packed, draw.bytes(20)])],
    [1, () => writeBorder(draw, packed, packed.length - draw.pick([4, 8]), 4)],
    [1, () => writeBorder(draw, packed, draw.int(2, 9), 1)],
    [1, () => truncate(draw, packed, [1, 3, 10, packed.length - 8, packed.length - 4])],
    [1, () => mutateBytes(draw, packed)],
  ]);
}

const tarSizes = [
  '00000000000',
  '77777777777',
  '-1',
  '0x10',
  '00000030000',
  '\x80\0\0\0\0\0\0\x7f\xff\xff\xff',
  '',
  '9',
];

export function mutateTar(draw: Draw, file: Uint8Array): Bytes {
  let tar: Bytes = Buffer.from(gunzipSync(file));
  const heads: number[] = [];
  for (let at = 0; at + 512 <= tar.length && tar[at] !== 0; ) {
    heads.push(at);
    at += 512 + 512 * Math.ceil((Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8) || 0) / 512);
  }
  const ends = [...heads.slice(1), tar.length];
  const which = draw.int(0, heads.length - 1);
  const head = heads[which];
  const one = tar.subarray(head, ends[which]);
  const without = () => Buffer.concat([tar.subarray(0, head), tar.subarray(ends[which])]);
  tar = draw.oneOf<Bytes>([
    [2, () => field(tar, head, 124, 12, draw.pick(tarSizes))],
    [2, () => field(tar, head, 0, 100, draw.pick(names))],
    [2, () => field(tar, head, 156, 1, draw.pick(['\0', '0', '1', '2', '5', 'x', 'L', 'g', 'K', 'S', '\xff']))],
    [1, () => field(tar, head, draw.pick([100, 108, 116, 136, 257, 345]), 8, draw.pick(tarSizes).slice(0, 8))],
    [1, without],
    [1, () => Buffer.concat([tar.subarray(0, head), one, tar.subarray(head)])],
    [1, () => Buffer.concat([one, without()])],
    [1, () => truncate(draw, tar, heads)],
    [
      1,
      () =>
        Buffer.concat([tar.subarray(0, head + 512), mutateBytes(draw, one.subarray(512)), tar.subarray(ends[which])]),
    ],
    [1, () => mutateBytes(draw, tar)],
  ]);
  return mutateGzip(draw, tar);
}

/** Writes a text into a tar header and corrects its checksum. */
function field(tar: Bytes, head: number, at: number, length: number, text: string): Bytes {
  tar.fill(0, head + at, head + at + length);
  tar.write(text, head + at, length, 'latin1');
  tar.fill(0x20, head + 148, head + 156);
  const sum = tar.subarray(head, head + 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, head + 148, 'latin1');
  return tar;
}
