// The header of a .npy file: a Python dictionary literal with three known keys. The parser accepts nothing else.
//
// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
//
// Source: NEP 1 and numpy.lib.format (versions 1.0, 2.0 and 3.0).
import { FileError } from '../../errors.ts';
import { type ArrayDtype, arrayDtypes } from '../array.ts';

export interface NpyHeader {
  dtype: ArrayDtype;
  bigEndian: boolean;
  fortranOrder: boolean;
  shape: number[];
  dataOffset: number;
}

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY
const MAX_HEADER_BYTES = 2 ** 20;
const MAX_RANK = 64; // NumPy's limit

const dtypeOfCode: Record<string, ArrayDtype> = {
  f2: 'f16',
  f4: 'f32',
  f8: 'f64',
  i1: 'i8',
  i2: 'i16',
  i4: 'i32',
  i8: 'i64',
  u1: 'u8',
  u2: 'u16',
  u4: 'u32',
  u8: 'u64',
  b1: 'bool',
};

/** NumPy's type code of a dtype, or undefined if .npy has none (bf16). */
export function npyCode(dtype: ArrayDtype): string | undefined {
  const code = Object.keys(dtypeOfCode).find((key) => dtypeOfCode[key] === dtype);
  return code && (arrayDtypes[dtype].bytes === 1 ? `|${code}` : `<${code}`);
}

/** The dtype of a type code such as f4, or undefined if this package does not read it. */
export function dtypeOfNpyCode(code: string): ArrayDtype | undefined {
  return Object.hasOwn(dtypeOfCode, code) ? dtypeOfCode[code] : undefined;
}

/** Parses the header. @throws FileError if the bytes are not a .npy file or its type is not supported */
export function parseNpyHeader(bytes: Uint8Array, name: string): NpyHeader {
  if (bytes.length < 10 || !magic.every((byte, i) => bytes[i] === byte))
    throw new FileError(name, 'is not a .npy file (it does not begin with \\x93NUMPY)');
  const version = bytes[6];
  if (version < 1 || version > 3) throw new FileError(name, `has .npy version ${version}; versions 1 to 3 can be read`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = version === 1 ? 10 : 12;
  if (bytes.length < start) throw new FileError(name, 'is truncated within its .npy header');
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER_BYTES || start + length > bytes.length)
    throw new FileError(name, `declares a .npy header of ${length} bytes but does not contain it; the file is damaged`);
  const text = new TextDecoder('latin1').decode(bytes.subarray(start, start + length));
  return { ...new LiteralParser(text, name).header(), dataOffset: start + length };
}

type Literal = string | boolean | number[];

class LiteralParser {
  private at = 0;
  private readonly text: string;
  private readonly name: string;

  constructor(text: string, name: string) {
    this.text = text;
    this.name = name;
  }

  header(): Omit<NpyHeader, 'dataOffset'> {
    const values = this.dictionary();
    const { descr, fortran_order: fortranOrder, shape } = Object.fromEntries(values);
    if (values.size !== 3 || typeof descr !== 'string' || typeof fortranOrder !== 'boolean' || !Array.isArray(shape))
      throw this.problem("needs exactly the keys 'descr', 'fortran_order' and 'shape'");
    if (shape.length > MAX_RANK) throw this.problem(`has ${shape.length} dimensions; at most ${MAX_RANK} can be read`);
    return { ...this.dtype(descr), fortranOrder, shape };
  }

  private dtype(descr: string): { dtype: ArrayDtype; bigEndian: boolean } {
    if (/^.?O/.test(descr))
      throw new FileError(
        this.name,
        'holds pickled Python objects, which are never loaded; save it as a numeric array',
      );
    const match = /^([<>=|]?)([a-z][0-9])$/.exec(descr === '?' ? '|b1' : descr);
    const dtype = match && dtypeOfNpyCode(match[2]);
    if (!match || !dtype)
      throw new FileError(
        this.name,
        `has elements of type '${descr}', which cannot be read; save it as f4, f8, i8, u1..`,
      );
    return { dtype, bigEndian: match[1] === '>' };
  }

  private dictionary(): Map<string, Literal> {
    const values = new Map<string, Literal>();
    this.expect('{');
    while (!this.accept('}')) {
      const key = this.string();
      this.expect(':');
      if (values.has(key)) throw this.problem(`has the key '${key}' twice`);
      values.set(key, this.value());
      if (!this.accept(',')) {
        this.expect('}');
        break;
      }
    }
    this.skipSpace();
    if (this.at !== this.text.length) throw this.problem('continues after its closing brace');
    return values;
  }

  private value(): Literal {
    this.skipSpace();
    const next = this.text[this.at];
    if (next === "'" || next === '"') return this.string();
    if (next === '(') return this.tuple();
    if (next === '[')
      throw new FileError(this.name, 'holds records with named fields; save each field as its own array');
    if (this.acceptWord('True')) return true;
    if (this.acceptWord('False')) return false;
    throw this.problem('holds an unexpected value');
  }

  // Names of dtypes contain no escapes, so a backslash is refused.
  private string(): string {
    this.skipSpace();
    const match = /^(?:'([^'\\\n]*)'|"([^"\\\n]*)")/.exec(this.text.slice(this.at, this.at + 200));
    if (!match) throw this.problem('has no quoted name');
    this.at += match[0].length;
    return match[1] ?? match[2];
  }

  private tuple(): number[] {
    const dims: number[] = [];
    this.expect('(');
    while (!this.accept(')')) {
      this.skipSpace();
      // Python 2 wrote an L after long integers.
      const match = /^(\d{1,16})L?/.exec(this.text.slice(this.at, this.at + 20));
      if (!match || !Number.isSafeInteger(Number(match[1]))) throw this.problem('holds a dimension that is not a size');
      this.at += match[0].length;
      dims.push(Number(match[1]));
      if (!this.accept(',')) {
        if (dims.length === 1) throw this.problem('has a shape that is not a tuple');
        this.expect(')');
        break;
      }
    }
    return dims;
  }

  private skipSpace(): void {
    while (' \t\n\r'.includes(this.text[this.at] ?? '.')) this.at++;
  }

  private accept(symbol: string): boolean {
    this.skipSpace();
    return this.acceptWord(symbol);
  }

  private acceptWord(word: string): boolean {
    const found = this.text.startsWith(word, this.at);
    if (found) this.at += word.length;
    return found;
  }

  private expect(symbol: string): void {
    if (!this.accept(symbol)) throw this.problem(`lacks a '${symbol}' at character ${this.at}`);
  }

  private problem(what: string): FileError {
    return new FileError(this.name, `the .npy header ${what}; the file is damaged`);
  }
}
