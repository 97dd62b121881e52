// Reads the bytes of a pickle from front to back. Every length is checked against the remaining bytes before use.
//
// Source: the argument descriptions of Lib/pickletools.py in CPython.
import { FileError } from '../../errors.ts';

/** The pickle continues after the given bytes. */
export class PickleCutOff extends FileError {}

const MAX_INTEGER_BYTES = 1024; // converting an integer takes time quadratic in its length
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class PickleInput {
  at: number;
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly name: string;

  constructor(bytes: Uint8Array, start: number, name: string) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = start;
    this.name = name;
  }

  byte(): number {
    return this.bytes[this.skip(1)];
  }

  uint16(): number {
    return this.view.getUint16(this.skip(2), true);
  }

  int32(): number {
    return this.view.getInt32(this.skip(4), true);
  }

  uint32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  /** Lengths above 2^53 lose their last bits, which is harmless: no file is that long. */
  uint64(): number {
    return Number(this.view.getBigUint64(this.skip(8), true));
  }

  /** Doubles are the only big-endian values in pickles. */
  float64(): number {
    return this.view.getFloat64(this.skip(8), false);
  }

  raw(length: number): Uint8Array {
    const start = this.skip(length);
    return this.bytes.subarray(start, start + length);
  }

  /** Text with one character per byte. */
  latin1(length: number): string {
    const { buffer, byteOffset } = this.raw(length);
    return Buffer.from(buffer, byteOffset, length).toString('latin1');
  }

  utf8(length: number): string {
    const bytes = this.raw(length);
    try {
      return utf8.decode(bytes);
    } catch (error) {
      throw new FileError(this.name, 'holds text that is not valid UTF-8; the file is damaged', { cause: error });
    }
  }

  /** An integer of `length` bytes in two's complement, low byte first. */
  integer(length: number): number | bigint {
    if (length > MAX_INTEGER_BYTES) throw this.problem(`holds an integer of ${length} bytes`);
    const bytes = this.raw(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
    return asNumber(BigInt.asIntN(8 * length, value));
  }

  line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw this.cutOff();
    const text = this.latin1(end - this.at);
    this.at++;
    return text;
  }

  /** A line with an integer in decimal digits; Python 2 ends long integers with an L. */
  decimal(): number | bigint {
    const text = this.line();
    if (text.length > 2 * MAX_INTEGER_BYTES || !/^[+-]?\d+L?$/.test(text))
      throw this.problem('holds a malformed integer');
    return asNumber(BigInt(text.replace(/^\+|L$/g, '')));
  }

  problem(what: string): FileError {
    return new FileError(this.name, `${what} at byte ${this.at} of its pickle; the file is damaged`);
  }

  /** The error for something that the pickle asks for but may not use. */
  refusal(what: string): FileError {
    return new FileError(this.name, `refused: ${what}; pickles are read as data, and no code in them is run`);
  }

  private skip(length: number): number {
    if (!(length >= 0)) throw this.problem(`declares a length of ${length}`);
    if (length > this.bytes.length - this.at) throw this.cutOff();
    this.at += length;
    return this.at - length;
  }

  private cutOff(): PickleCutOff {
    return new PickleCutOff(
      this.name,
      `ends at byte ${this.bytes.length} within its pickle; it is truncated or damaged`,
    );
  }
}

function asNumber(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
