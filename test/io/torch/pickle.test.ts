// The restricted unpickler: every protocol of Python, every operation by its definition, and no code that is run.
import { expect, it } from 'vitest';
import { FileError } from '../../../src/errors.ts';
import { numpyGlobals } from '../../../src/io/numpy/numpy_pickle.ts';
import { unpickle } from '../../../src/io/torch/pickle.ts';
import { PickleGlobal, Tuple } from '../../../src/io/torch/pickle_machine.ts';
import { PickleWriter } from '../../../src/io/torch/pickle_writer.ts';
import { readFixture } from '../files.ts';

const known = [
  ...numpyGlobals('x.pkl'),
  new PickleGlobal('collections.OrderedDict', ([pairs]) => new Map((pairs as [string, unknown][] | undefined) ?? [])),
  new PickleGlobal('test.constant'),
  new PickleGlobal('test.sum', (args) => (args as number[]).reduce((sum, value) => sum + value, 0)),
  new PickleGlobal(
    'test.box',
    () => ({ state: undefined as unknown }),
    (made, state) => Object.assign(made as object, { state }),
  ),
];
const globals = new Map(known.map((global) => [global.name, global]));

function load(bytes: string | Uint8Array, persistent?: (id: unknown) => unknown): unknown {
  const all = new Uint8Array(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  const { value, end } = unpickle(all, 0, { name: 'x.pkl', globals, persistent });
  expect(end).toBe(all.length);
  return value;
}

it.each([0, 1, 2, 3, 4, 5])("reads Python's protocol %s", async (protocol) => {
  const pickles = JSON.parse(Buffer.from(await readFixture('pickles.json')).toString());
  const value = load(Buffer.from(pickles[`protocol ${protocol}`], 'base64')) as unknown[];
  expect(value.slice(0, 14)).toEqual([
    null,
    true,
    false,
    0,
    255,
    65535,
    -1,
    2 ** 31,
    2n ** 62n,
    -(2n ** 62n),
    2n ** 2100n,
    0.1,
    -1e300,
    Number.POSITIVE_INFINITY,
  ]);
  expect(value.slice(14, 18)).toEqual(['', 'é\n\\u', new Uint8Array(0), Uint8Array.of(0, 255)]);
  expect(value.slice(18, 23)).toStrictEqual(
    [[], [1], [1, 2], [1, 2, 3], [1, 2, 3, 4]].map((items) => Tuple.from(items)),
  );
  expect(value.slice(23, 25)).toEqual([
    ['a', 2.5],
    ['a', 2.5],
  ]);
  expect(value[23]).toBe(value[24]);
  expect(value.slice(25, 27)).toEqual([new Map(), new Map([['k', new Map([[1, []]])]])]);
  expect(value.slice(27, 29)).toEqual(['x'.repeat(300), new Uint8Array(300).fill(121)]);
  expect(value.slice(29, 31)).toEqual([new Map([['a', 1]]), 0.5]);
  expect((value[31] as { array: unknown }).array).toEqual({ shape: [3], dtype: 'i16', data: Int16Array.of(0, 1, 2) });
});

it("reads Python's sets", () => {
  // pickle.dumps({'a': {1}, 'b': frozenset([3]), 'c': set()}, 4)
  const pickle = '8004951e000000000000007d94288c0161948f94284b01908c016294284b0391948c0163948f94752e';
  expect(load(Buffer.from(pickle, 'hex'))).toEqual(
    new Map([
      ['a', [1]],
      ['b', [3]],
      ['c', []],
    ]),
  );
});

// From the descriptions in pickletools.
it.each<[string, string, unknown]>([
  ['a mark removed by POP', '(0N.', null],
  ['POP of a value', 'NK\x010.', null],
  ['POP_MARK', 'N(K\x01K\x021.', null],
  ['DUP', 'K\x052\x86.', Tuple.of(5, 5)],
  ['a Python 2 str with escapes', "S'a\\x41\\n\\\\\\''\n.", "aA\n\\'"],
  ['a Python 2 str in double quotes', 'S"it\'s"\n.', "it's"],
  ['a Python 2 str of bytes', 'U\x02\xe9\x00.', 'é\0'],
  ['characters beyond 16 bits', 'V\\U0001f600\\u00e9\xe9\n.', '😀éé'],
  ['LONG4', '\x8b\x02\x00\x00\x00\x00\xff.', -256],
  ['LONG1 of nothing', '\x8a\x00.', 0],
  ['a Python 2 long', 'L12L\n.', 12],
  ['DICT and LIST', '(K\x01(K\x02ld.', new Map([[1, [2]]])],
  ['SETITEM', '}K\x01Ns.', new Map([[1, null]])],
  ['keys of bytes', '}C\x01aNs.', new Map([['a', null]])],
  ['a harmless __proto__', '}X\x09\x00\x00\x00__proto__}s.', new Map([['__proto__', new Map()]])],
  ['LONG_BINPUT and LONG_BINGET', 'K\x07r\xff\xff\xff\xff0j\xff\xff\xff\xff.', 7],
  ['REDUCE', 'ctest\nsum\n(K\x01K\x02tR.', 3],
  ['NEWOBJ', 'ctest\nsum\n(K\x01K\x02t\x81.', 3],
  ['NEWOBJ_EX', 'ctest\nsum\n(K\x01K\x02t}\x92.', 3],
  ['OBJ', '(ctest\nsum\nK\x01K\x02o.', 3],
  ['INST', '(K\x01K\x02itest\nsum\n.', 3],
  ['STACK_GLOBAL', '\x8c\x04test\x8c\x03sum\x93K\x04\x85R.', 4],
  ['sets of protocol 4, as lists', '\x8f\x94(K\x01K\x02\x90.', [1, 2]],
  ['a frozen set of protocol 4, as a list', '(K\x03K\x04\x91\x94.', [3, 4]],
  ['an empty set', '\x8f.', []],
  ['BUILD', 'ctest\nbox\n)RK\x09b.', { state: 9 }],
])('reads %s', (_, pickle, value) => {
  expect(load(pickle)).toStrictEqual(value);
});

it('asks the caller about persistent ids', () => {
  expect(load('X\x01\x00\x00\x00aQ.', (id) => [id])).toEqual(['a']);
  expect(load('Pa b\n.', (id) => [id])).toEqual(['a b']);
  expect(() => load('NQ.')).toThrow(/refused: a reference to data outside/);
});

it.each([
  ["cos\nsystem\n(S'true'\ntR.", /refused: os\.system; .* no code in them is run/],
  ["cposix\nsystem\n(S'true'\ntR.", /refused: posix\.system/],
  ['cbuiltins\neval\n.', /refused: builtins\.eval/],
  ['\x8c\x08builtins\x8c\x04exec\x93.', /refused: builtins\.exec/],
  ["(S'true'\nios\nsystem\n.", /refused: os\.system/],
  ['c__proto__\n__proto__\n.', /refused: __proto__\.__proto__/],
  ['cconstructor\nconstructor\n.', /refused: constructor\.constructor/],
  ['ctest\nconstant\n)R.', /refused: a call of test\.constant/],
  ['ctest\nsum\nN}\x92.', /calls with something other than arguments/],
  ['ctest\nsum\n)}K\x01Ns\x92.', /refused: a call with keyword arguments/],
  ['N)R.', /calls something other than a global/],
  ['}}b.', /refused: a state for plain data/],
  ['ctest\nsum\n)RNb.', /refused: a state for test\.sum/],
  [')Na.', /appends to something other than a list/],
  [']K\x01Ns.', /sets items of something other than a dictionary/],
  ['}(Nu.', /sets a key without a value/],
  ['}]Ns.', /a dictionary key that is neither/],
  ['h\x05.', /refers to the missing memo entry 5/],
  ['.', /pops from an empty stack/],
  ['NN.', /leaves values on the stack/],
  ['(N.', /has no mark|leaves values on the stack/],
  ['t.', /has no mark/],
  ['\x80\x06N.', /has protocol 6 \(0 to 5 can be read\)/],
  ['(K\x01\x90.', /pops from an empty stack/],
  ['}(K\x01\x90.', /appends to something other than a list/],
  ['K\x01\x91.', /has no mark/],
  ['\x82\x01.', /unknown operation 0x82/],
  ['X\x02\x00\x00\x00\xff\xfe.', /not valid UTF-8/],
  ['X\xff\xff\xff\xffab.', /ends at byte 8 within/],
  ['T\xff\xff\xff\xffab.', /declares a length of -1/],
  ['\x8e\xff\xff\xff\xff\xff\xff\xff\xff.', /ends at byte/],
  ['\x8b\x01\x04\x00\x00.', /an integer of 1025 bytes/],
  ['I1_000\n.', /malformed integer/],
  ['F0x10\n.', /malformed float/],
  ['Sabc\n.', /string without quotes/],
  ['V\\Uffffffff\n.', /beyond Unicode/],
  ['N', /ends at byte 1/],
])('refuses %j', (pickle, message) => {
  const run = () => load(pickle);
  expect(run).toThrow(FileError);
  expect(run).toThrow(message);
  expect(run).toThrow(/^x\.pkl: /);
});

it('bounds the memory that small operations ask for', () => {
  for (const code of [']', '(', 'N'])
    expect(() => load(Buffer.alloc(2 ** 23, `N${code}`))).toThrow(/more small values than 64 MiB hold/);
});

it('reads what PickleWriter writes', () => {
  const pickle = new PickleWriter();
  pickle.dictionary(() => {
    pickle.integer(-1);
    pickle.bytes(Uint8Array.of(200));
    pickle.text('sum');
    pickle.call('test', 'sum', () => pickle.integer(2n ** 40n));
    pickle.text('box');
    pickle.call('test', 'box', () => {});
    pickle.build(() => pickle.float(1));
    pickle.text('outside');
    pickle.persistent(() => pickle.none());
  });
  expect(load(pickle.end(), (id) => ({ id }))).toEqual(
    new Map<unknown, unknown>([
      [-1, 'È'],
      ['sum', 2 ** 40],
      ['box', { state: 1 }],
      ['outside', { id: null }],
    ]),
  );
});

it('takes memory in proportion to its length for a text of escapes only', () => {
  const count = 2_000_000;
  const text = load(`V${'\\u0041'.repeat(count)}\\U0001f600\\\n.`) as string;
  expect(text.length).toBe(count + 3);
  expect(text.slice(-4)).toBe('A😀\\');
  expect(load(`S'${'\\x41'.repeat(count)}\\n\\q'\n.`)).toBe(`${'A'.repeat(count)}\nq`);
});
