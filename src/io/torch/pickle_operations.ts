// The operations of a pickle by their byte, in the order of Lib/pickle.py.
//
// Extension codes and out-of-band buffers are not implemented and thus refused. A set becomes a list, as in
// python_globals.ts.
import type { PickleInput } from './pickle_input.ts';
import type { PickleMachine } from './pickle_machine.ts';

type Operation = (machine: PickleMachine, input: PickleInput) => void;

const MAX_PROTOCOL = 5;

const byCharacter: Record<string, Operation> = {
  '(': (machine) => machine.mark(),
  '0': (machine) => machine.popValueOrMark(),
  '1': (machine) => machine.popToMark(),
  '2': (machine) => machine.push(machine.top()),
  N: (machine) => machine.push(null),
  F: (machine, input) => machine.push(float(input)),
  I: (machine, input) => machine.push(integerOrBoolean(input)),
  J: (machine, input) => machine.push(input.int32()),
  K: (machine, input) => machine.push(input.byte()),
  L: (machine, input) => machine.push(input.decimal()),
  M: (machine, input) => machine.push(input.uint16()),
  G: (machine, input) => machine.push(input.float64()),
  S: (machine, input) => machine.push(quotedString(input)),
  T: (machine, input) => machine.push(input.latin1(input.int32())),
  U: (machine, input) => machine.push(input.latin1(input.byte())),
  V: (machine, input) => machine.push(rawUnicode(input)),
  X: (machine, input) => machine.push(input.utf8(input.uint32())),
  B: (machine, input) => machine.pushContainer(input.raw(input.uint32())),
  C: (machine, input) => machine.pushContainer(input.raw(input.byte())),
  P: (machine, input) => machine.persistent(input.line()),
  Q: (machine) => machine.persistent(machine.pop()),
  ']': (machine) => machine.pushContainer([]),
  l: (machine) => machine.pushContainer(machine.popToMark()),
  a: (machine) => {
    const value = machine.pop();
    machine.append([value]);
  },
  e: (machine) => {
    const values = machine.popToMark();
    machine.append(values);
  },
  ')': (machine) => machine.pushTuple(0),
  t: (machine) => pushTupleToMark(machine),
  '}': (machine) => machine.pushContainer(new Map()),
  d: (machine) => {
    const values = machine.popToMark();
    machine.pushContainer(new Map());
    machine.setItems(values);
  },
  s: (machine) => {
    const value = machine.pop();
    const key = machine.pop();
    machine.setItems([key, value]);
  },
  u: (machine) => {
    const values = machine.popToMark();
    machine.setItems(values);
  },
  c: (machine, input) => {
    const module = input.line();
    machine.push(machine.global(module, input.line()));
  },
  i: (machine, input) => {
    const module = input.line();
    const callee = machine.global(module, input.line());
    machine.call(callee, machine.popToMark());
  },
  o: (machine) => {
    const [callee, ...args] = machine.popToMark();
    machine.call(callee, args);
  },
  R: (machine) => callWithArguments(machine),
  b: (machine) => {
    const state = machine.pop();
    machine.build(state);
  },
  g: (machine, input) => machine.get(input.decimal()),
  h: (machine, input) => machine.get(input.byte()),
  j: (machine, input) => machine.get(input.uint32()),
  p: (machine, input) => machine.put(input.decimal()),
  q: (machine, input) => machine.put(input.byte()),
  r: (machine, input) => machine.put(input.uint32()),
};

const byCode: Record<number, Operation> = {
  128: (_, input) => {
    const protocol = input.byte();
    if (protocol > MAX_PROTOCOL) throw input.problem(`has protocol ${protocol} (0 to ${MAX_PROTOCOL} can be read)`);
  },
  129: (machine) => callWithArguments(machine),
  133: (machine) => machine.pushTuple(1),
  134: (machine) => machine.pushTuple(2),
  135: (machine) => machine.pushTuple(3),
  136: (machine) => machine.push(true),
  137: (machine) => machine.push(false),
  138: (machine, input) => machine.push(input.integer(input.byte())),
  139: (machine, input) => machine.push(input.integer(input.int32())),
  140: (machine, input) => machine.push(input.utf8(input.byte())),
  141: (machine, input) => machine.push(input.utf8(input.uint64())),
  142: (machine, input) => machine.pushContainer(input.raw(input.uint64())),
  143: (machine) => machine.pushContainer([]),
  144: (machine) => {
    const values = machine.popToMark();
    machine.append(values);
  },
  145: (machine) => machine.pushContainer(machine.popToMark()),
  146: (machine, input) => {
    const keywords = machine.pop();
    if (!(keywords instanceof Map) || keywords.size > 0) throw input.refusal('a call with keyword arguments');
    callWithArguments(machine);
  },
  147: (machine) => {
    const name = machine.pop();
    machine.push(machine.global(machine.pop(), name));
  },
  148: (machine) => machine.memoize(),
  // A frame says how much to read ahead, but everything is in memory already.
  149: (_, input) => input.uint64(),
  150: (machine, input) => machine.pushContainer(input.raw(input.uint64())),
};

/** The operations, indexed by their byte. */
export const operations: readonly (Operation | undefined)[] = Array.from(
  { length: 256 },
  (_, code) => byCode[code] ?? byCharacter[String.fromCharCode(code)],
);

function callWithArguments(machine: PickleMachine): void {
  const args = machine.pop();
  machine.call(machine.pop(), args);
}

function pushTupleToMark(machine: PickleMachine): void {
  const values = machine.popToMark();
  for (const value of values) machine.push(value);
  machine.pushTuple(values.length);
}

function float(input: PickleInput): number {
  const text = input.line();
  const special: Record<string, number> = {
    inf: Number.POSITIVE_INFINITY,
    '-inf': Number.NEGATIVE_INFINITY,
    nan: Number.NaN,
  };
  if (Object.hasOwn(special, text)) return special[text];
  if (text.length > 64 || !/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text))
    throw input.problem('holds a malformed float');
  return Number(text);
}

// Protocols 0 and 1 write False as I00 and True as I01.
function integerOrBoolean(input: PickleInput): number | bigint | boolean {
  const start = input.at;
  const text = input.line();
  if (text === '00') return false;
  if (text === '01') return true;
  input.at = start;
  return input.decimal();
}

function quotedString(input: PickleInput): string {
  const match = /^(?:'(.*)'|"(.*)")$/s.exec(input.line());
  if (!match) throw input.problem('holds a string without quotes');
  const single: Record<string, number> = { n: 10, r: 13, t: 9 };
  return resolveEscapes(match[1] ?? match[2], (text, at) => {
    const code = /^x([0-9a-f]{2})/.exec(text.slice(at + 1, at + 4));
    if (code) return { point: Number.parseInt(code[1], 16), length: 4 };
    return { point: single[text[at + 1]] ?? text.charCodeAt(at + 1), length: 2 };
  });
}

// Python's raw-unicode-escape: Latin-1 with \uXXXX and \UXXXXXXXX.
function rawUnicode(input: PickleInput): string {
  return resolveEscapes(input.line(), (text, at) => {
    const code = /^(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(text.slice(at + 1, at + 10));
    if (!code) return { point: 92, length: 1 };
    const point = Number.parseInt(code[1] ?? code[2], 16);
    if (point > 0x10ffff) throw input.problem('holds a character beyond Unicode');
    return { point, length: code[0].length + 1 };
  });
}

/**
 * Replaces escapes. A regular expression over the whole text would create a string per match, and a text may be
 * megabytes long.
 * @param decode returns the code point and the length of the escape whose backslash is at `at`
 */
function resolveEscapes(text: string, decode: (text: string, at: number) => { point: number; length: number }): string {
  if (!text.includes('\\')) return text;
  const units = new Uint16Array(text.length);
  let count = 0;
  for (let at = 0; at < text.length; ) {
    if (text.charCodeAt(at) !== 92) {
      units[count++] = text.charCodeAt(at++);
      continue;
    }
    const { point, length } = decode(text, at);
    for (const unit of point > 0xffff ? [0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff)] : [point])
      units[count++] = unit;
    at += length;
  }
  const pieces: string[] = [];
  for (let at = 0; at < count; at += 8192)
    pieces.push(String.fromCharCode(...units.subarray(at, Math.min(at + 8192, count))));
  return pieces.join('');
}
