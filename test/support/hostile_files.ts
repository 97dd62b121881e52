// Malicious files: they try to run code, fill memory, hang, write elsewhere, or change every object.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32, deflateRawSync, gzipSync } from 'node:zlib';

export interface HostileFile {
  what: string;
  /** The file extension. */
  kind: string;
  bytes: Uint8Array;
  /** The message of the error, if the file must be refused. */
  mustFail?: RegExp;
}

export interface RawEntry {
  name: string;
  bytes: Uint8Array;
  method?: number;
  size?: number;
  flags?: number;
  offset?: number;
  crc?: number;
}

/** A zip archive whose fields may be false. */
export function rawZip(entries: readonly RawEntry[], declaredCount = entries.length): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const { name, bytes, method = 0, size = bytes.length, flags = 0, offset = at, crc = crc32(bytes) } of entries) {
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(flags, 2);
    fields.writeUInt16LE(method, 4);
    fields.writeUInt32LE(crc, 10);
    fields.writeUInt32LE(bytes.length, 14);
    fields.writeUInt32LE(size, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), fields, Buffer.from(name), bytes]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\0'), fields, tail, Buffer.from(name)]));
    parts.push(local);
    at += local.length;
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(declaredCount, 8);
  end.writeUInt16LE(declaredCount, 10);
  end.writeUInt32LE(Buffer.concat(directory).length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

const latin1 = (text: string) => Buffer.from(text, 'latin1');
const uint32 = (value: number) =>
  String.fromCharCode(value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24);
const text = (value: string) => `X${uint32(value.length)}${value}`;
const integer = (value: bigint) => {
  const bytes = Array.from({ length: 9 }, (_, i) => Number(BigInt.asUintN(8, value >> BigInt(8 * i))));
  return `\x8a\x09${String.fromCharCode(...bytes)}`;
};
const integers = (values: readonly bigint[]) => `(${values.map(integer).join('')}t`;
const storage = (key: string, count: bigint) =>
  `(${text('storage')}ctorch\nFloatStorage\n${text(key)}${text('cpu')}${integer(count)}tQ`;
const tensor = (key: string, count: bigint, offset: bigint, shape: readonly bigint[], strides: readonly bigint[]) =>
  `ctorch._utils\n_rebuild_tensor_v2\n(${storage(key, count)}${integer(offset)}${integers(shape)}${integers(strides)}\x89Nt` +
  'R';

/** A .pth of this pickle and one storage of four floats. */
function pth(what: string, pickle: string, mustFail?: RegExp): HostileFile {
  const entries = [
    { name: 'a/data.pkl', bytes: latin1(`\x80\x02${pickle}.`) },
    { name: 'a/data/0', bytes: new Uint8Array(16) },
  ];
  return { what: `pickle: ${what}`, kind: 'pth', bytes: rawZip(entries), mustFail };
}

const forbidden = [
  'os system',
  'posix system',
  'nt system',
  'subprocess Popen',
  'builtins eval',
  'builtins exec',
  'builtins getattr',
  '__builtin__ eval',
  'runpy _run_code',
  'pickle loads',
  'torch.storage _load_from_bytes',
  'torch.serialization load',
  'torch.hub load',
  'torch._utils _rebuild_wrapper_subclass',
  'torch.jit._pickle restore_type_tag',
  'numpy.core.multiarray fromfile',
  'numpy load',
  'collections namedtuple',
  'copyreg _reconstructor',
  'os.path join',
  'toString constructor',
];

function* pickles(folder: string): Generator<HostileFile> {
  const command = text(`touch ${join(folder, 'marker')}`);
  for (const name of forbidden) {
    const [module, member] = name.split(' ');
    const refusal = new RegExp(`refused: ${module}.${member}`.replaceAll('.', '\\.'));
    yield pth(`${name} by GLOBAL`, `c${module}\n${member}\n${command}\x85R`, refusal);
    yield pth(`${name} by STACK_GLOBAL`, `${text(module)}${text(member)}\x93${command}\x85R`, refusal);
    yield pth(`${name} by INST`, `(${command}i${module}\n${member}\n`, refusal);
    yield pth(`${name} by OBJ`, `(c${module}\n${member}\n${command}o`, refusal);
    yield pth(`${name} by NEWOBJ`, `c${module}\n${member}\n${command}\x85\x81`, refusal);
    const legacy = latin1(`\x80\x02c${module}\n${member}\n${command}\x85R.`);
    yield { what: `${name} in a legacy file`, kind: 'pth', bytes: legacy, mustFail: refusal };
  }

  yield pth('a list in itself', ']q\0h\0a', /contains itself/);
  yield pth('a dict in itself', `}q\0${text('a')}h\0s`, /contains itself/);
  yield pth('a tuple in itself', ']q\0h\0\x85a', /contains itself/);
  yield pth('an OrderedDict in itself', `ccollections\nOrderedDict\n)Rq\0${text('a')}h\0s`, /contains itself/);
  yield pth('2^60 parts by DUP', `N${'2\x86'.repeat(60)}`, /counting repeated references/);
  yield pth(
    '2^60 parts by memo',
    `N${'q\0]h\0ah\0aq\0'.repeat(60)}`,
    /counting repeated references|leaves values on the stack/,
  );
  yield pth('100,000 lists in one another', ']'.repeat(100_000) + 'a'.repeat(99_999), /nested deeper than 100/);
  yield pth('100,000 marks', '('.repeat(100_000), /leaves values|empty stack/);
  yield pth('5 million nothings', 'N'.repeat(5e6), /more small values/);
  yield pth('a million dictionaries', '}'.repeat(1e6), /more small values/);
  yield pth('a number of 250 digits', `L${'9'.repeat(250)}\n`);
  yield pth('a number of 10 million digits', `L${'9'.repeat(1e7)}\n`, /malformed integer/);
  yield pth('a float of a million digits', `F${'1'.repeat(1e6)}x\n`, /malformed float/);
  yield pth('a key __proto__', `}${text('__proto__')}}${text('polluted')}\x88ss`);
  yield pth('a key constructor', `}${text('constructor')}}${text('prototype')}}ss`);
  yield pth('a state for an OrderedDict', `ccollections\nOrderedDict\n)R}${text('__proto__')}}sb`);
  yield pth('an OrderedDict of doubled lists', `N${'2\x86'.repeat(60)}ccollections\nOrderedDict\n0`, /./);
  yield pth('a device of doubled lists', `ctorch\ndevice\n(N${'2\x86'.repeat(60)}tR`, /without a name/);
  yield pth('a shape of doubled lists', `ctorch\nSize\n(N${'2\x86'.repeat(60)}tR`, /something other than sizes/);
  yield pth('a dtype of doubled lists', `cnumpy\ndtype\n(N${'2\x86'.repeat(60)}tR`, /not a string/);
  yield pth('a refusal of a megabyte', `c${'x'.repeat(1e6)}\ny\n`, /refused: x+;/);

  yield pth('a tensor of 2^62 elements', tensor('0', 4n, 0n, [2n ** 31n, 2n ** 31n], [0n, 0n]), /exceeds its storage/);
  yield pth(
    'a tensor that repeats one to 4 GiB',
    tensor('0', 4n, 0n, [32768n, 32768n], [0n, 0n]),
    /repeating elements/,
  );
  const four = tensor('0', 4n, 0n, [1024n, 1024n], [0n, 0n]);
  yield pth('100 tensors that repeat one to 4 MiB each', `](${four.repeat(100)}e`, /repeating elements/);
  yield pth('an offset beyond', tensor('0', 4n, 4n, [1n], [1n]), /exceeds its storage/);
  yield pth('an offset of 2^62', tensor('0', 4n, 2n ** 62n, [1n], [1n]), /without storage, offset/);
  yield pth('a stride beyond', tensor('0', 4n, 0n, [2n, 2n], [3n, 1n]), /exceeds its storage/);
  yield pth('a negative stride', tensor('0', 4n, 3n, [2n], [-1n]), /without storage, offset/);
  yield pth('more strides than dimensions', tensor('0', 4n, 0n, [2n], [1n, 1n]), /exceeds its storage/);
  yield pth('100 dimensions', tensor('0', 4n, 0n, Array(100).fill(1n), Array(100).fill(1n)), /without storage, offset/);
  yield pth('a storage of 2^50', tensor('0', 2n ** 50n, 0n, [2n ** 50n], [1n]), /storage "0" has 16 bytes/);
  yield pth('a storage that is not there', tensor('7', 4n, 0n, [4n], [1n]), /has no entry "a\/data\/7"/);
  yield pth('a storage elsewhere', tensor('../../x', 4n, 0n, [4n], [1n]), /has no entry/);
  yield pth(
    'a storage in two sizes',
    `](${tensor('0', 4n, 0n, [4n], [1n])}${tensor('0', 5n, 0n, [4n], [1n])}e`,
    /two descriptions/,
  );

  const legacy = (pickle: string, rest: string, mustFail: RegExp): HostileFile => {
    const magic = `\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.`;
    const bytes = latin1(`${magic}\x80\x02M\xe9\x03.\x80\x02}.\x80\x02${pickle}.\x80\x02](${text('0')}e.${rest}`);
    return { what: `legacy: ${mustFail}`, kind: 'pth', bytes, mustFail };
  };
  yield legacy(tensor('0', 4n, 0n, [4n], [1n]), '\x04\0\0\0\0\0\0\0short', /ends at byte .* it is truncated/);
  yield legacy(tensor('0', 2n ** 50n, 0n, [4n], [1n]), '\0\0\0\0\0\0\x04\0short', /ends at byte .* it is truncated/);
  yield legacy(
    tensor('0', 4n, 0n, [4n], [1n]),
    `\xff\xff\xff\xff\xff\xff\xff\xff${'\0'.repeat(16)}`,
    /does not match its description/,
  );
  yield legacy(
    tensor('1', 4n, 0n, [4n], [1n]),
    `\x04\0\0\0\0\0\0\0${'\0'.repeat(16)}`,
    /does not match its description/,
  );
  yield legacy('N'.repeat(5e6), '', /more small values/);
}

const npy = (literal: string, elements = '', length = literal.length) =>
  latin1(`\x93NUMPY\x02\0${uint32(length)}${literal}${elements}`);
const npyOf = (shape: string) => npy(`{'descr': '<f4', 'fortran_order': True, 'shape': (${shape}), }`);

function* archives(): Generator<HostileFile> {
  const small = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }", 'x');
  const zeros = Buffer.concat([
    npy("{'descr': '|u1', 'fortran_order': False, 'shape': (50000000,), }"),
    Buffer.alloc(50_000_000),
  ]);
  const packed = deflateRawSync(zeros);
  const npz = (what: string, bytes: Uint8Array, mustFail?: RegExp): HostileFile => ({
    what: `npz: ${what}`,
    kind: 'npz',
    bytes,
    mustFail,
  });
  const bomb = { name: 'x.npy', bytes: packed, method: 8, size: zeros.length, crc: crc32(zeros) };
  yield npz('a bomb that says so', rawZip([bomb]), /unpacks to/);
  yield npz('a bomb that lies', rawZip([{ ...bomb, size: 1000 }]), /exceeds its size/);
  yield npz(
    'sizes that cannot be',
    rawZip([{ ...bomb, bytes: packed.subarray(0, 100), size: 2 ** 31 }]),
    /declares a size/,
  );
  for (const name of ['../x.npy', '/x.npy', 'C:\\x.npy', 'a/../../x.npy'])
    yield npz(`the name ${name}`, rawZip([{ name, bytes: small }]), /cannot be read|invalid|absolute/);
  yield npz('the name __proto__', rawZip([{ name: '__proto__.npy', bytes: small }]));
  yield npz(
    'a name twice',
    rawZip([
      { name: 'x.npy', bytes: small },
      { name: 'x.npy', bytes: small },
    ]),
    /"x\.npy" twice/,
  );
  const shared = Array.from({ length: 50 }, (_, i) => ({ name: `${i}.npy`, bytes: i ? Buffer.alloc(0) : small }));
  yield npz('entries beyond the end', rawZip([{ name: 'x.npy', bytes: small, offset: 2 ** 31 }]), /./);
  yield npz('a directory as data', rawZip([{ name: 'x.npy', bytes: small, offset: 120 }]), /./);
  yield npz('65,535 declared entries', rawZip(shared, 65_535), /./);
  yield npz('an encrypted entry', rawZip([{ name: 'x.npy', bytes: small, flags: 1 }]), /encrypted|mismatch/);
  yield npz('another method', rawZip([{ name: 'x.npy', bytes: small, method: 99 }]), /a method other than deflate/);
  const one = rawZip([{ name: 'x.npy', bytes: small }]);
  const locator = Buffer.alloc(20);
  locator.write('PK\x06\x07');
  locator.writeBigUInt64LE(2n ** 60n, 8);
  const far = Buffer.concat([one.subarray(0, -22), locator, one.subarray(-22)]);
  yield npz('a directory at byte 2^60', far, /ends at byte/);
  const data = { name: 'a/data.pkl', bytes: latin1('N.') };
  const pthOf = (what: string, entries: RawEntry[], mustFail: RegExp): HostileFile => ({
    what: `pth: ${what}`,
    kind: 'pth',
    bytes: rawZip(entries),
    mustFail,
  });
  yield pthOf('a packed bomb', [{ ...bomb, name: 'a/data.pkl' }], /is compressed, which torch\.save never does/);
  yield pthOf('two pickles', [data, { ...data, name: 'b/data.pkl' }], /has no <name>/);
  yield pthOf('a name outside', [data, { ...data, name: '../x' }], /cannot be read/);
  yield pthOf('an unknown byte order', [data, { name: 'a/byteorder', bytes: latin1('middle') }], /unknown byte order/);

  for (const shape of ['9007199254740993,', '4294967296, 4294967296', '-1,', `${'1, '.repeat(100)}`, '1e9,'])
    yield { what: `npy: shape ${shape}`, kind: 'npy', bytes: npyOf(shape), mustFail: /./ };
  yield { what: 'npy: an empty array of endless width', kind: 'npy', bytes: npyOf('0, 9007199254740991') };
  yield {
    what: 'npy: a header of 4 GiB',
    kind: 'npy',
    bytes: npy('{}', '', 2 ** 32 - 1),
    mustFail: /declares a \.npy header/,
  };
  yield { what: 'npy: a million braces', kind: 'npy', bytes: npy('{'.repeat(1e6)), mustFail: /./ };
}

function* others(folder: string): Generator<HostileFile> {
  const safetensors = (header: string, length = BigInt(header.length)): Uint8Array => {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(length);
    return Buffer.concat([size, Buffer.from(header)]);
  };
  const entry = '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}';
  for (const [what, bytes, mustFail] of [
    ['a header of 2^63', safetensors('{}', 2n ** 63n), /declares a header/],
    ['a million brackets', safetensors(`{"a":${'['.repeat(1e6)}`), /damaged header/],
    ['a tensor __proto__', safetensors(`{"__proto__":${entry}}`), undefined],
    ['a name twice', safetensors(`{"a":${entry},"a":${entry}}`), /occurs twice/],
    [
      'a shape of 2^53',
      safetensors('{"a":{"dtype":"F32","shape":[9007199254740991,2],"data_offsets":[0,8]}}'),
      /spans 8 bytes/,
    ],
    [
      'tensors that overlap',
      safetensors(`{"a":${entry.replace('[0,0]', '[0,4]').replace('[0]', '[1]')},"b":${entry}}    `),
      /./,
    ],
  ] as const)
    yield { what: `safetensors: ${what}`, kind: 'safetensors', bytes, mustFail };

  const module = join(folder, 'file.mjs');
  writeFileSync(
    module,
    `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(join(folder, 'marker'))}, '');`,
  );
  for (const [what, json, mustFail] of [
    ['a key __proto__', '{"__proto__": {"polluted": true}}', /./],
    ['a nested key __proto__', '{"model": {"__proto__": {"polluted": true}}}', /./],
    ['a key constructor', '{"model": {"constructor": {"prototype": {"polluted": true}}}}', /./],
    ['a base that is a module', JSON.stringify({ base: module }), /is a module/],
    ['a base elsewhere', '{"base": "../../../../etc/passwd"}', /a configuration is a .json, .ts or .js file/],
    ['a base that is itself', '{"base": "file.json"}', /based on each other/],
    ['100,000 brackets', '['.repeat(100_000), /./],
    ['100,000 tables', '{"model":'.repeat(100_000), /./],
    ['100,000 whole tables', `${'{"model":'.repeat(100_000)}1${'}'.repeat(100_000)}`, /./],
    ['a number beyond', '{"seed": 1e999}', /./],
    ['a key of 500 KB', `{"${'a'.repeat(5e5)}": 1}`, /./],
    ['10,000 keys', `{${Array.from({ length: 10_000 }, (_, i) => `"k${i}":1`).join()}}`, /and 9980 more unknown keys/],
    ['two megabytes', ' '.repeat(2 ** 21), /bytes, more than/],
    ['an array', '[1]', /./],
    ['nothing', '', /is not JSON/],
  ] as const)
    yield { what: `json: ${what}`, kind: 'json', bytes: Buffer.from(json), mustFail };

  const header = Buffer.alloc(512);
  header.write('skipped');
  header.write('77777777777', 124);
  header.write(' '.repeat(8), 148);
  header.write('0', 156);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  const zeros = gzipSync(Buffer.alloc(2 ** 26));
  const bomb = Buffer.concat([gzipSync(header), ...Array.from({ length: 10 }, () => zeros)]);
  yield { what: 'tar.gz: a bomb', kind: 'tar.gz', bytes: bomb, mustFail: /unpacks to more than/ };
}

/** All malicious files. @param folder where executed code would create a file named marker */
export function* hostileFiles(folder: string): Generator<HostileFile> {
  yield* pickles(folder);
  yield* archives();
  yield* others(folder);
}
