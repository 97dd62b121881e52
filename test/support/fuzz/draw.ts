// Random choices of a mutant, and values that often break readers.
import { integer, type Random, random } from '../random.ts';

export class Draw {
  readonly next: Random;

  constructor(seed: string) {
    this.next = random(seed);
  }

  int(low: number, high: number): number {
    return integer(this.next, low, high);
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)];
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  /** One of several ways, with probability proportional to its weight. */
  oneOf<T>(ways: readonly (readonly [weight: number, way: () => T])[]): T {
    let left = this.next() * ways.reduce((sum, [weight]) => sum + weight, 0);
    for (const [weight, way] of ways) {
      left -= weight;
      if (left < 0) return way();
    }
    return ways[ways.length - 1][1]();
  }

  bytes(length: number): Buffer {
    return Buffer.from(Uint8Array.from({ length }, () => this.int(0, 255)));
  }
}

/** Counts, lengths and offsets at the borders of their types. */
export const borders = [
  ...[0n, 1n, 2n, 7n, 15n, 16n, 255n, 256n, 2n ** 15n, 2n ** 16n - 1n, 2n ** 16n, 2n ** 24n, 2n ** 31n - 1n, 2n ** 31n],
  ...[2n ** 32n - 1n, 2n ** 32n, 2n ** 40n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n],
];

export const dims = [
  ...['0', '1', '2', '3', '4', '6', '12', '65536', '4294967296', '9007199254740991', '9007199254740992', '-1', '1L'],
  ...['1e5', '0x10', '1.5', 'True', '18446744073709551616'],
];

/** Names that reach out of a folder, into a prototype or into a terminal. */
export const names = [
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', '../../x', '/x', 'C:\\x', 'a/../../b'],
  ...[
    '',
    '.',
    '..',
    'a\0b',
    '\x1b[31mred',
    'a\nrectiflow: all good',
    'x'.repeat(300),
    '\u202etxt',
    '\ud800',
    'é',
    '\ufeffa',
  ],
];

/** JSON text that is written unchanged. */
export class Raw {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** An object as its members, so that a key may occur twice. */
class Members {
  readonly list: [string, unknown][];

  constructor(list: [string, unknown][]) {
    this.list = list;
  }
}

const jsonValues: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1, 2, 0.5, 1e-9, 2 ** 31, 2 ** 53, 1e300, 'x', 'adam', '1', 'NaN', [], {}, [[]], [0]],
  ...[['x', null], { a: 1 }, 'x'.repeat(3000), 'a'.repeat(64), ...names],
  ...[
    ...['1e999', '-0', '-1e999', '9'.repeat(400), '1.7976931348623159e308', '01', 'NaN', 'undefined', "'x'", ''],
    ...['{"__proto__":{"polluted":true}}', '{"constructor":{"prototype":{"polluted":true}}}', '"\\u0000"', '"\\x"'],
    ...[`${'['.repeat(60)}${']'.repeat(60)}`, `${'['.repeat(600)}${']'.repeat(600)}`, '['.repeat(5000)],
    ...['{"a":1,"a":2}', '"\\ud800"'],
  ].map((text) => new Raw(text)),
];

/** The same value with some of its parts replaced, removed or repeated, each with the given probability. */
export function mutateJson(draw: Draw, value: unknown, share: number): unknown {
  if (draw.chance(share)) return draw.pick(jsonValues);
  if (Array.isArray(value)) {
    const list = value.map((item) => mutateJson(draw, item, share));
    if (draw.chance(share)) list.push(draw.pick(jsonValues));
    if (draw.chance(share)) list.pop();
    if (draw.chance(share)) list.reverse();
    return draw.chance(share / 4) ? Array(draw.int(50, 2000)).fill(list[0] ?? null) : list;
  }
  if (typeof value === 'number' && draw.chance(3 * share)) return draw.pick([value + 1, value / 2, -value, 2 * value]);
  if (typeof value !== 'object' || value === null || value instanceof Raw) return value;
  const members = Object.entries(value).map(([key, inner]): [string, unknown] => [
    draw.chance(share / 2) ? draw.pick(names) : key,
    mutateJson(draw, inner, share),
  ]);
  if (draw.chance(share)) members.push([draw.pick(names), draw.pick(jsonValues)]);
  if (draw.chance(share / 2) && members.length > 0) members.push(draw.pick(members));
  if (draw.chance(share)) members.splice(draw.int(0, members.length), 1);
  if (draw.chance(share)) members.reverse();
  return new Members(members);
}

export function jsonText(value: unknown): string {
  if (value instanceof Raw) return value.text;
  if (value instanceof Members)
    return `{${value.list.map(([key, inner]) => `${JSON.stringify(key)}:${jsonText(inner)}`).join(',')}}`;
  if (Array.isArray(value)) return `[${value.map(jsonText).join(',')}]`;
  if (typeof value === 'object' && value !== null) return jsonText(new Members(Object.entries(value)));
  return JSON.stringify(value) ?? 'null';
}

/** A JSON file of a mutated value, sometimes with damaged text or in another encoding. */
export function jsonFile(draw: Draw, value: unknown, share = draw.pick([0.01, 0.03, 0.1])): Buffer {
  const text = jsonText(mutateJson(draw, value, share));
  return draw.oneOf([
    [40, () => Buffer.from(text)],
    [2, () => Buffer.from(`\ufeff${text}`)],
    [1, () => Buffer.from(text, 'utf16le')],
    [1, () => Buffer.from(text.replace(/[a-z]/, 'é'), 'latin1')],
    [2, () => Buffer.from(text.slice(0, draw.int(0, text.length)))],
    [4, () => mutateBytes(draw, Buffer.from(text))],
  ]);
}

/** A few changes anywhere. */
export function mutateBytes(draw: Draw, original: Uint8Array, most = 3): Buffer {
  let bytes: Buffer = Buffer.from(original);
  for (let changes = draw.int(1, most); changes > 0 && bytes.length > 0; changes--) {
    const at = draw.int(0, bytes.length - 1);
    const cut = (length: number) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    bytes = draw.oneOf<Buffer>([
      [3, () => Buffer.from(bytes.with(at, bytes[at] ^ (1 << draw.int(0, 7))))],
      [2, () => Buffer.from(bytes.with(at, draw.pick([0, 1, 0x7f, 0x80, 0xff, draw.int(0, 255)])))],
      [3, () => writeBorder(draw, bytes, at, draw.pick([1, 2, 4, 8]))],
      [1, () => bytes.subarray(0, at)],
      [1, () => cut(draw.int(1, 64))],
      [1, () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(draw.int(0, at), at + 32), bytes.subarray(at)])],
      [1, () => bytes.fill(draw.pick([0, 0xff, 0x41]), at, Math.min(bytes.length, at + draw.int(1, 32)))],
    ]);
  }
  return bytes;
}

/** Writes a border value as an integer of `size` bytes at a place, in a random byte order unless one is given. */
export function writeBorder(
  draw: Draw,
  bytes: Buffer,
  at: number,
  size: number,
  order = draw.pick(['little', 'big']),
): Buffer {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(BigInt.asUintN(64, draw.pick(borders) + BigInt(draw.pick([0, 0, 1, -1]))));
  const field = value.subarray(0, size);
  if (at + size <= bytes.length) (order === 'little' ? field : field.reverse()).copy(bytes, at);
  return bytes;
}

/** The bytes up to one of these places, or to somewhere. */
export function truncate(draw: Draw, bytes: Buffer, places: readonly number[]): Buffer {
  const at = draw.chance(0.7) && places.length > 0 ? draw.pick(places) + draw.int(-1, 1) : draw.int(0, bytes.length);
  return bytes.subarray(0, Math.max(0, at));
}
