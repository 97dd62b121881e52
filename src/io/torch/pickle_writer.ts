// Writes pickles of protocol 2, which PyTorch writes and every Python since 2.3 reads. Nothing is memoised.
//
// Source: Lib/pickle.py of CPython.
import { ValueError } from '../../errors.ts';

export class PickleWriter {
  private readonly parts: Uint8Array[] = [Uint8Array.of(0x80, 2)];

  /** Ends the pickle and returns its bytes. The value written last is its result. */
  end(): Uint8Array {
    return Buffer.concat([...this.parts, Buffer.from('.')]);
  }

  none(): void {
    this.operation('N');
  }

  boolean(value: boolean): void {
    this.parts.push(Uint8Array.of(value ? 0x88 : 0x89));
  }

  integer(value: number | bigint): void {
    const number = Number(value);
    if (number >= 0 && number < 2 ** 8) this.operation('K', Uint8Array.of(number));
    else if (number >= -(2 ** 31) && number < 2 ** 31) {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(number);
      this.operation('J', bytes);
    } else this.long(BigInt(value));
  }

  float(value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleBE(value);
    this.operation('G', bytes);
  }

  /** @throws ValueError for a lone surrogate, which UTF-8 cannot represent */
  text(value: string): void {
    const bytes = Buffer.from(value);
    if (bytes.toString() !== value) throw new ValueError(`the text ${JSON.stringify(value)} is not valid Unicode`);
    this.operation('X', length32(bytes.length), bytes);
  }

  /** Writes bytes as Python 2's str, which Python 3 reads as bytes with encoding='bytes'. */
  bytes(value: Uint8Array): void {
    this.operation('T', length32(value.length), value);
  }

  list(items: () => void): void {
    this.operation('](');
    items();
    this.operation('e');
  }

  tuple(items: () => void): void {
    this.operation('(');
    items();
    this.operation('t');
  }

  /** @param items writes key, value, key, value, .. */
  dictionary(items: () => void): void {
    this.operation('}');
    this.setItems(items);
  }

  /** Sets items of the dictionary written last. @param items as in `dictionary` */
  setItems(items: () => void): void {
    this.operation('(');
    items();
    this.operation('u');
  }

  global(module: string, name: string): void {
    this.operation(`c${module}\n${name}\n`);
  }

  call(module: string, name: string, args: () => void): void {
    this.global(module, name);
    this.tuple(args);
    this.operation('R');
  }

  /** Writes a reference to data outside of the pickle. @param id writes the persistent id */
  persistent(id: () => void): void {
    id();
    this.operation('Q');
  }

  /** Sets the state of the object written last. @param state writes the state */
  build(state: () => void): void {
    state();
    this.operation('b');
  }

  private long(value: bigint): void {
    let length = 1;
    while (BigInt.asIntN(8 * length, value) !== value) length++;
    if (length > 255) throw new ValueError('an integer of more than 255 bytes cannot be written');
    const bytes = Uint8Array.from({ length }, (_, i) => Number(BigInt.asUintN(8, value >> BigInt(8 * i))));
    this.parts.push(Uint8Array.of(0x8a, length), bytes);
  }

  private operation(codes: string, ...rest: Uint8Array[]): void {
    this.parts.push(Buffer.from(codes, 'latin1'), ...rest);
  }
}

function length32(length: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length);
  return bytes;
}
