// Damaged copies of valid bytes, drawn from a seed, as broken disks and hostile writers produce them.
import { integer, type Random } from './random.ts';

export interface Mutation {
  what: string;
  bytes: Uint8Array;
}

type Change = (bytes: Buffer, draw: Random) => Mutation;

const place = (bytes: Buffer, draw: Random) => integer(draw, 0, Math.max(0, bytes.length - 1));
const runLength = (draw: Random) => 2 ** integer(draw, 0, 7);

const truncate: Change = (bytes, draw) => {
  const length = place(bytes, draw);
  return { what: `cut to ${length} bytes`, bytes: bytes.subarray(0, length) };
};

const flipBits: Change = (bytes, draw) => {
  const at = Array.from({ length: integer(draw, 1, 8) }, () => place(bytes, draw));
  for (const byte of at) bytes[byte] ^= 1 << integer(draw, 0, 7);
  return { what: `bits flipped at ${at.join(', ')}`, bytes };
};

const replaceRun: Change = (bytes, draw) => {
  const at = place(bytes, draw);
  const length = runLength(draw);
  const value = [0, 0xff, undefined][integer(draw, 0, 2)];
  for (let i = at; i < Math.min(bytes.length, at + length); i++) bytes[i] = value ?? integer(draw, 0, 255);
  return { what: `${length} bytes from ${at} replaced by ${value ?? 'noise'}`, bytes };
};

// Lengths and counts of 2, 4 and 8 bytes in either byte order.
const blowUpLength: Change = (bytes, draw) => {
  const size = [2, 4, 8][integer(draw, 0, 2)];
  const at = integer(draw, 0, Math.max(0, bytes.length - size));
  const value = [2n ** 15n, 2n ** 31n - 1n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 64n - 1n][
    integer(draw, 0, 5)
  ];
  const field = Buffer.alloc(8);
  field.writeBigUInt64LE(BigInt.asUintN(8 * size, value));
  const little = integer(draw, 0, 1) === 0;
  const content = field.subarray(0, size);
  (little ? content : content.reverse()).copy(bytes, at);
  return { what: `${size} bytes at ${at} made ${value}`, bytes };
};

const blowUpDigits: Change = (bytes, draw) => {
  const numbers = [...bytes.toString('latin1').matchAll(/\d+/g)];
  if (numbers.length === 0) return flipBits(bytes, draw);
  const { index, 0: digits } = numbers[integer(draw, 0, numbers.length - 1)];
  const text = ['-1', '0', '4294967296', '9007199254740993', '1e999', '9'.repeat(400)][integer(draw, 0, 5)];
  const parts = [bytes.subarray(0, index), Buffer.from(text), bytes.subarray(index + digits.length)];
  return { what: `the number ${digits} at ${index} made ${text}`, bytes: Buffer.concat(parts) };
};

const splice: Change = (bytes, draw) => {
  const from = place(bytes, draw);
  const region = bytes.subarray(from, from + runLength(draw));
  const times = [1, 1, 2, 50][integer(draw, 0, 3)];
  const at = place(bytes, draw);
  const removed = [0, region.length][integer(draw, 0, 1)];
  const copies = Array.from({ length: times }, () => region);
  return {
    what: `${region.length} bytes from ${from} put ${times} times at ${at} in place of ${removed}`,
    bytes: Buffer.concat([bytes.subarray(0, at), ...copies, bytes.subarray(at + removed)]),
  };
};

const remove: Change = (bytes, draw) => {
  const at = place(bytes, draw);
  const length = runLength(draw);
  return {
    what: `${length} bytes at ${at} removed`,
    bytes: Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]),
  };
};

const changes = [truncate, flipBits, flipBits, replaceRun, blowUpLength, blowUpLength, blowUpDigits, splice, remove];

/** A copy of the bytes with one change. */
export function mutate(bytes: Uint8Array, draw: Random): Mutation {
  return changes[integer(draw, 0, changes.length - 1)](Buffer.from(bytes), draw);
}
