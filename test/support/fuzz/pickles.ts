// Mutants of pickles by operation, so that most of them are still pickles.
import { borders, type Draw, mutateBytes, names } from './draw.ts';

type Bytes = Buffer;

/** Bytes of an operation's argument by its byte: a number, or how its length is given. Source: Lib/pickletools.py. */
const fixed: Record<string, number> = { J: 4, K: 1, M: 2, G: 8, h: 1, j: 4, q: 1, r: 4, '\x80': 1, '\x95': 8 };
const counted: Record<string, number> = { T: 4, U: 1, X: 4, B: 4, C: 1, '\x8a': 1, '\x8b': 4, '\x8c': 1, '\x8d': 8 };
Object.assign(counted, { '\x8e': 8, '\x96': 8 });
const lines: Record<string, number> = { F: 1, I: 1, L: 1, S: 1, V: 1, P: 1, c: 2, i: 2, g: 1, p: 1 };

/** The operations of a valid pickle, each with its argument, and where it ends. */
export function operationsOf(bytes: Bytes, start = 0): { operations: Bytes[]; end: number } {
  const operations: Bytes[] = [];
  for (let at = start; at < bytes.length; ) {
    const code = String.fromCharCode(bytes[at]);
    let end = at + 1;
    if (code in fixed) end += fixed[code];
    else if (code in counted) {
      const width = counted[code];
      end += width + (width === 8 ? Number(bytes.readBigUInt64LE(end)) : bytes.readUIntLE(end, width));
    } else for (let left = lines[code] ?? 0; left > 0; left--) end = bytes.indexOf(10, end) + 1;
    operations.push(bytes.subarray(at, end));
    at = end;
    if (code === '.') return { operations, end };
  }
  return { operations, end: bytes.length };
}

const latin1 = (text: string) => Buffer.from(text, 'latin1');
const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes.toString('latin1');
};
const text = (value: string) => {
  const bytes = Buffer.from(value);
  return `X${uint32(bytes.length)}${bytes.toString('latin1')}`;
};
const long = (value: bigint) => {
  const bytes = Buffer.alloc(9);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return `\x8a\x09${bytes.toString('latin1')}`;
};

const globals = [
  ...['torch._utils\n_rebuild_tensor_v2', 'torch\nFloatStorage', 'torch._utils\n_rebuild_parameter', 'torch\nSize'],
  ...['torch._tensor\n_rebuild_from_type_v2', 'torch.storage\nUntypedStorage', 'torch\nfloat32', 'torch\ndevice'],
  ...[
    'collections\nOrderedDict',
    'collections\ndefaultdict',
    'argparse\nNamespace',
    'builtins\nset',
    '__builtin__\nset',
  ],
  ...['numpy.core.multiarray\n_reconstruct', 'numpy.core.multiarray\nscalar', 'numpy\nndarray', 'numpy\ndtype'],
  ...['numpy._core.numeric\n_frombuffer', '_codecs\nencode', 'pathlib\nPosixPath', 'builtins\nbytes', 'os\nsystem'],
  ...['builtins\neval', 'posix\nsystem', '__proto__\nconstructor', 'x\x1b[1m\ny'],
];
/** Operations without an argument, including sets and refused ones. */
const bare = [
  ...['(', '0', '1', '2', 'N', ']', 'l', 'a', 'e', ')', 't', '}', 'd', 's', 'u', 'o', 'R', 'b', 'Q', '.', '\x81'],
  ...['\x85', '\x86', '\x87', '\x88', '\x89', '\x8f', '\x90', '\x91', '\x92', '\x93', '\x94', '\x97', '\x98', '\x82'],
];
const texts = [
  'storage',
  '0',
  '1',
  'cpu',
  'f4',
  '|u1',
  '<',
  'latin1',
  'b',
  'data',
  'labels',
  'state_dict',
  'model',
  ...names,
];

export function randomOperation(draw: Draw): Bytes {
  return latin1(
    draw.oneOf([
      [8, () => draw.pick(bare)],
      [3, () => `c${draw.pick(globals)}\n`],
      [3, () => text(draw.pick(texts))],
      [2, () => `K${String.fromCharCode(draw.int(0, 9))}`],
      [1, () => `M${uint32(draw.int(0, 65535)).slice(0, 2)}`],
      [1, () => `J${uint32(draw.int(-5, 2 ** 31 - 1))}`],
      [2, () => long(draw.pick(borders))],
      [1, () => `G${draw.bytes(8).toString('latin1')}`],
      [1, () => `q${String.fromCharCode(draw.int(0, 5))}`],
      [2, () => `h${String.fromCharCode(draw.int(0, 5))}`],
      [1, () => `C${String.fromCharCode(4)}${draw.bytes(4).toString('latin1')}`],
      [
        1,
        () =>
          `${draw.pick(['I', 'F', 'L', 'S', 'V', 'P', 'g', 'p'])}${draw.pick(['1', '01', '-1', '1e999', "'x'", 'x', '9'.repeat(60)])}\n`,
      ],
      [1, () => `\x95${draw.bytes(8).toString('latin1')}`],
      [1, () => `${draw.pick(Object.keys(counted))}${draw.bytes(8).toString('latin1')}`],
    ]),
  );
}

/** A storage, a tensor in it, and the parts of a state dict, with numbers at the limits of their types. */
function tensorProgram(draw: Draw): string {
  const small = () => BigInt(draw.pick([0, 1, 2, 3, 4]));
  const number = () => (draw.chance(0.15) ? draw.pick(borders) : small());
  const tuple = (length: number) => `(${Array.from({ length }, () => long(number())).join('')}t`;
  const rank = draw.pick([0, 1, 1, 2, 2, 3, 65]);
  const storage = `(${text('storage')}ctorch\n${draw.pick(['FloatStorage', 'FloatStorage', 'LongStorage', 'ByteStorage'])}\n${text(draw.pick(['0', '0', '0', '1', '../x']))}${text('cpu')}${long(draw.chance(0.8) ? 4n : number())}tQ`;
  return `ctorch._utils\n_rebuild_tensor_v2\n(${storage}${long(number())}${tuple(rank)}${tuple(draw.chance(0.9) ? rank : 1)}\x89NtR`;
}

/** A pickle of values that mostly fit together. */
export function randomPickle(draw: Draw): Bytes {
  const value = (depth: number): string =>
    draw.oneOf<string>([
      [3, () => tensorProgram(draw)],
      [1, () => 'N'],
      [2, () => long(draw.pick(borders))],
      [2, () => text(draw.pick(texts))],
      [1, () => `G${draw.bytes(8).toString('latin1')}`],
      [depth, () => `](${values(depth - 1)}e`],
      [depth, () => `(${values(depth - 1)}t`],
      [depth, () => `\x8f(${values(depth - 1)}\x90`],
      [depth / 2, () => `(${values(depth - 1)}\x91`],
      [depth, () => `}(${items(depth - 1)}u`],
      [depth, () => `ccollections\nOrderedDict\n)R(${items(depth - 1)}u`],
      [depth / 2, () => `cargparse\nNamespace\n)\x81}(${items(depth - 1)}ub`],
      [0.5, () => `${value(0)}q\x07h\x07\x86`],
      [0.3, () => `c${draw.pick(globals)}\n(${values(1)}tR`],
      [0.2, () => randomOperation(draw).toString('latin1')],
    ]);
  const values = (depth: number) => Array.from({ length: draw.int(0, 3) }, () => value(Math.max(0, depth))).join('');
  const items = (depth: number) =>
    Array.from({ length: draw.int(0, 3) }, () => `${text(draw.pick(texts))}${value(Math.max(0, depth))}`).join('');
  return latin1(`\x80${draw.pick(['\x02', '\x02', '\x04', '\x05'])}${value(3)}.`);
}

/** @param bytes one valid pickle */
export function mutatePickle(draw: Draw, bytes: Bytes): Bytes {
  const { operations } = operationsOf(bytes);
  for (let changes = draw.int(1, 2); changes > 0 && operations.length > 1; changes--) {
    const at = draw.int(1, operations.length - 1);
    const one = operations[at];
    draw.oneOf<unknown>([
      [
        3,
        () => operations.splice(at, 0, latin1(draw.pick(['N0', 'K\x010', ']0', '}0', '\x8f0', '(1', `${text('x')}0`]))),
      ],
      [2, () => operations.splice(at, 0, randomOperation(draw))],
      [2, () => operations.splice(at, 1, randomOperation(draw))],
      [1, () => operations.splice(at, 1)],
      [1, () => operations.splice(at, 0, one)],
      [1, () => operations.splice(at, 1, ...operations.splice(draw.int(0, operations.length - 1), 1), one)],
      [4, () => operations.splice(at, 1, changedArgument(draw, one))],
      [1, () => operations.splice(at)],
    ]);
  }
  return Buffer.concat(operations);
}

/** Another argument of the same kind: a number at a border, a name that reaches out. */
function changedArgument(draw: Draw, one: Bytes): Bytes {
  const code = String.fromCharCode(one[0]);
  if ('KMJ\x8a'.includes(code))
    return latin1(draw.chance(0.5) ? `K${String.fromCharCode(draw.int(0, 9))}` : long(draw.pick(borders)));
  if ('XU\x8c'.includes(code)) return latin1(text(draw.pick(texts)));
  if (code === 'c') return latin1(`c${draw.pick(globals)}\n`);
  return one.length > 1 ? mutateBytes(draw, one, 1) : randomOperation(draw);
}
