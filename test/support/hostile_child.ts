// Reads damaged and hostile files in a separate process: node --import jiti/register hostile_child.ts FOLDER COUNT
// Prints one line of JSON: the failures, the time and the memory. The file that is being read stays in the folder, so that it
// is kept after a crash.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { RectiflowError } from '../../src/errors.ts';
import { tarGzFiles } from '../../src/io/archives/tar.ts';
import { withZip } from '../../src/io/archives/zip.ts';
import { type StoredEntry, storedZip } from '../../src/io/archives/zip_writer.ts';
import {
  encodeNpy,
  readNpy,
  readNpz,
  readPth,
  readSafetensors,
  writePth,
  writeSafetensors,
} from '../../src/io/index.ts';
import { loadConfig } from '../../src/run/config/index.ts';
import { type HostileFile, hostileFiles } from './hostile_files.ts';
import { mutate } from './mutate.ts';
import { random } from './random.ts';

export interface HostileReport {
  files: number;
  /** Files that were read in spite of their damage. */
  read: number;
  /** Any outcome except a value or a RectiflowError, with the file's description. */
  failures: string[];
  slowest: { what: string; milliseconds: number };
  maxMegabytes: number;
  /** Files in the folder that this program did not create. */
  left: string[];
}

const readers: Record<string, (path: string) => Promise<unknown>> = {
  pth: readPth,
  npz: (path) => readNpz(path, { maxBytes: 2 ** 25 }),
  npy: readNpy,
  safetensors: (path) => readSafetensors(path),
  json: loadConfig,
  'tar.gz': async (path) => {
    for await (const file of tarGzFiles(path, (name) => name !== 'skipped', 2 ** 20)) void file;
  },
};

/** A valid file to damage: whole, or a part of it that is packed again so that checksums are right. */
interface Seed {
  name: string;
  kind: string;
  bytes: Uint8Array;
  wrap?: (bytes: Uint8Array) => Uint8Array;
  mustFail?: RegExp;
}

const [, , folder, count] = process.argv;
const fixturePath = (name: string) => fileURLToPath(new URL(`../fixtures/io/${name}`, import.meta.url));
const fixture = (name: string) => new Uint8Array(readFileSync(fixturePath(name)));
const zip = (entries: StoredEntry[]) => Buffer.concat([...storedZip(entries)]);

async function seeds(): Promise<Seed[]> {
  const whole = [
    'torch_zip.pth',
    'torch_legacy.pth',
    'torch_newer.pth',
    'torch_python2.pth',
    'torch_tensor.pth',
    'stored.npz',
    'deflated.npz',
    'streamed.npz',
    'f32.npy',
    'f32_big_endian_fortran.npy',
    'version3.npy',
    'numpy.safetensors',
    'tar_pax.tar.gz',
  ].map((name): Seed => ({ name, kind: name.slice(name.indexOf('.') + 1), bytes: fixture(name) }));

  const tensor = { shape: [2, 3], dtype: 'f32', data: Float32Array.of(1, 2, 3, 4, 5, 6) } as const;
  const array = { ...tensor, shape: [2, 3] };
  const path = join(folder, 'seed');
  await writePth(path, new Map([['weight', array]]));
  const written = new Uint8Array(readFileSync(path));
  await writeSafetensors(
    path,
    { a: array, b: { shape: [2], dtype: 'i64', data: new BigInt64Array(2) } },
    { step: '3' },
  );
  const safetensors = new Uint8Array(readFileSync(path));
  const json = JSON.stringify({ base: 'digits', seed: 3, optim: { lr: 1e-3 }, model: { ch_mult: [1, 2] } });
  return [
    ...whole,
    { name: 'written.pth', kind: 'pth', bytes: written },
    { name: 'written.safetensors', kind: 'safetensors', bytes: safetensors },
    { name: 'config.json', kind: 'json', bytes: Buffer.from(json) },
    ...['protocol 0', 'protocol 2', 'protocol 5'].map((name): Seed => {
      const bytes = Buffer.from(JSON.parse(Buffer.from(fixture('pickles.json')).toString())[name], 'base64');
      // These hold bytes objects, which a .pth does not.
      return {
        name,
        kind: 'pth',
        bytes,
        wrap: (data) => zip([{ name: 'a/data.pkl', bytes: data }]),
        mustFail: /holds bytes/,
      };
    }),
    await pickleOf('torch_zip.pth'),
    await pickleOf('torch_newer_protocol5.pth'),
    ...['tar_ustar.tar.gz', 'tar_gnu.tar.gz', 'tar_pax.tar.gz'].map((name): Seed => {
      const bytes = gunzipSync(fixture(name));
      return { name: `tar of ${name}`, kind: 'tar.gz', bytes, wrap: (damaged) => packedTar(damaged, headersOf(bytes)) };
    }),
    { name: 'npy within', kind: 'npz', bytes: encodeNpy(array), wrap: (bytes) => zip([{ name: 'x.npy', bytes }]) },
  ];
}

/** The offsets of the headers of an archive. */
function headersOf(tar: Buffer): number[] {
  const headers: number[] = [];
  for (let at = 0; tar[at] !== 0; ) {
    headers.push(at);
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8);
    at += 512 + 512 * Math.ceil(size / 512);
  }
  return headers;
}

/** Packs an archive, with correct checksums at the offsets of the headers. */
function packedTar(bytes: Uint8Array, headers: readonly number[]): Uint8Array {
  const tar = Buffer.from(bytes);
  for (const at of headers.filter((header) => header + 512 <= tar.length)) {
    tar.fill(' ', at + 148, at + 156);
    const sum = tar.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148);
  }
  return gzipSync(tar, { level: 1 });
}

// The pickle of a file written by PyTorch, packed again with its storages.
function pickleOf(name: string): Promise<Seed> {
  return withZip(fixturePath(name), '.pth', async (archive) => {
    const entries: StoredEntry[] = [];
    for (const entry of archive.entries.values())
      entries.push({ name: entry.fileName, bytes: await archive.read(entry) });
    const [pickle, ...storages] = entries;
    const wrap = (bytes: Uint8Array) => zip([{ name: pickle.name, bytes }, ...storages]);
    return { name: `pickle of ${name}`, kind: 'pth', bytes: pickle.bytes, wrap };
  });
}

function* mutations(all: readonly Seed[], number: number): Generator<HostileFile> {
  for (let i = 0; i < number; i++) {
    const { name, kind, bytes, wrap } = all[i % all.length];
    const damaged = mutate(bytes, random(`${name} ${i}`));
    yield { what: `${name}, mutation ${i}: ${damaged.what}`, kind, bytes: wrap?.(damaged.bytes) ?? damaged.bytes };
  }
}

const report: HostileReport = {
  files: 0,
  read: 0,
  failures: [],
  slowest: { what: '', milliseconds: 0 },
  maxMegabytes: 0,
  left: [],
};

async function attempt({ what, kind, bytes, mustFail }: HostileFile): Promise<void> {
  const path = join(folder, `file.${kind}`);
  writeFileSync(path, bytes);
  report.files++;
  // This is processor time, since other processes may be busy on this machine.
  const before = process.cpuUsage();
  try {
    await readers[kind](path);
    report.read++;
    if (mustFail) report.failures.push(`${what}: was read`);
  } catch (error) {
    if (!(error instanceof RectiflowError) || !error.message)
      report.failures.push(`${what}: ${(error as Error)?.stack ?? error}`);
    else if (mustFail && !mustFail.test(error.message)) report.failures.push(`${what}: says ${error.message}`);
  }
  const { user, system } = process.cpuUsage(before);
  const milliseconds = (user + system) / 1000;
  if (milliseconds > report.slowest.milliseconds) report.slowest = { what, milliseconds };
}

const all = await seeds();
for (const { name, kind, bytes, wrap, mustFail } of all)
  await attempt({ what: `${name}, undamaged`, kind, bytes: wrap?.(bytes) ?? bytes, mustFail });
const good = all.filter(({ mustFail }) => !mustFail).length;
if (report.read !== good) report.failures.push(`${report.read} of ${good} undamaged files were read`);
for (const file of hostileFiles(folder)) await attempt(file);
for (const file of mutations(all, Number(count))) await attempt(file);
report.maxMegabytes = process.resourceUsage().maxRSS / 1024;
if ('polluted' in {}) report.failures.push('every object was changed');
report.left = readdirSync(folder).filter((name) => name !== 'seed' && !name.startsWith('file.'));
console.log(JSON.stringify(report));
