// Text files as Windows editors and shells save them: wherever JSON or a configuration is read, UTF-8 with a byte-order
// mark is accepted and UTF-16 is refused in one line.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { PairSet, readManifest } from '../../src/data/index.ts';
import { readJournal } from '../../src/data/pairs/manifest.ts';
import { FileError } from '../../src/errors.ts';
import { parseJsonFile } from '../../src/io/json.ts';
import { packagedTuning } from '../../src/kernels/tuning/index.ts';
import { keepBest } from '../../src/run/eval/best.ts';
import { loadConfig } from '../../src/run/index.ts';
import { readTuning } from '../../src/run/machine/tuning.ts';
import { configWith } from '../support/config.ts';
import { makePairs } from '../support/pairs.ts';

const folder = mkdtempSync(join(tmpdir(), 'rectiflow-encodings-'));
afterAll(() => rmSync(folder, { recursive: true }));

const marked = (text: string) => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(text)]);
const littleEndian = (text: string) => Buffer.from(text, 'utf16le');
const bigEndian = (text: string) => littleEndian(text).swap16();
const wide: [name: string, encode: (text: string) => Buffer][] = [
  ['UTF-16 of PowerShell', (text) => littleEndian(`\ufeff${text}`)],
  ['UTF-16, high byte first', (text) => bigEndian(`\ufeff${text}`)],
  ['UTF-16 without a mark', littleEndian],
  ['UTF-16 without a mark, high byte first', bigEndian],
];

let files = 0;
function fileOf(ending: string, bytes: Uint8Array): string {
  const path = join(folder, `${files++}${ending}`);
  writeFileSync(path, bytes);
  return path;
}

/** Every reader of text files that a user may edit. */
const readers: [name: string, ending: string, text: string, read: (path: string) => Promise<unknown>][] = [
  ['a configuration', '.json', '{"base": "digits", "seed": 7}', loadConfig],
  ['a configuration in TypeScript', '.ts', "export default { base: 'digits', seed: 7 };", loadConfig],
  ['a configuration in JavaScript', '.mjs', "export default { base: 'digits', seed: 7 };", loadConfig],
  ['a table of rates', '.json', JSON.stringify(packagedTuning('avx2')), readTuning],
];

describe.each(readers)('%s', (_, ending, text, read) => {
  it('reads the same with a byte-order mark', async () => {
    expect(await read(fileOf(ending, marked(text)))).toEqual(await read(fileOf(ending, Buffer.from(text))));
  });

  it.each(wide)('refuses %s in one line', async (_encoding, encode) => {
    const path = fileOf(ending, encode(text));
    const error = (await read(path).catch((problem) => problem)) as Error;
    expect(error).toBeInstanceOf(FileError);
    expect(error.message).toBe(`${path}: is text in UTF-16; save it as UTF-8`);
  });
});

it('reads a .json base with a byte-order mark', async () => {
  const base = fileOf('.json', marked('{"base": "digits", "seed": 9}'));
  const path = fileOf('.json', marked(JSON.stringify({ base })));
  expect((await loadConfig(path)).seed).toBe(9);
});

it('reads a manifest of pairs with a byte-order mark', async () => {
  const root = await makePairs();
  const path = join(root, '7/manifest.json');
  const plain = await readManifest(join(root, '7'));
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, marked(text));
  expect(await readManifest(join(root, '7'))).toEqual(plain);
  const set = await PairSet.open(root);
  expect(set.count).toBe(50);
  await set.close();
  for (const [, encode] of wide) {
    writeFileSync(path, encode(text));
    await expect(PairSet.open(root)).rejects.toThrow(`${path}: is text in UTF-16; save it as UTF-8`);
  }
});

it('keeps the first batch of a journal of pairs with a byte-order mark', async () => {
  const root = await makePairs({}, { stopAfter: 3 });
  const path = join(root, '7/progress.jsonl');
  const plain = await readJournal(join(root, '7'));
  expect(plain).toHaveLength(3);
  writeFileSync(path, marked(readFileSync(path, 'utf8')));
  expect(await readJournal(join(root, '7'))).toEqual(plain);
});

it('keeps the best score of a best.json with a byte-order mark', async () => {
  const config = await configWith('digits', {});
  const workdir = join(folder, 'best');
  mkdirSync(join(workdir, 'eval'), { recursive: true });
  writeFileSync(join(workdir, 'a.safetensors'), '');
  const row = (name: string, value: number) => ({
    checkpoint: join(workdir, name),
    step: 1,
    loss: { loss: value, images: 4 },
  });
  const path = join(workdir, 'eval/best.json');
  await keepBest(workdir, config, [row('a.safetensors', 1)] as never);
  writeFileSync(path, marked(readFileSync(path, 'utf8')));
  await keepBest(workdir, config, [row('b.safetensors', 2)] as never);
  expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ checkpoint: 'a.safetensors', value: 1 });
});

it('refuses text that is neither UTF-8 nor UTF-16, and text that is not JSON', () => {
  const parse = (bytes: Uint8Array) => () => parseJsonFile(bytes, 'x.json');
  expect(parse(Buffer.from('{"a": "\xe9"}', 'latin1'))).toThrow('x.json: is not text in UTF-8; save it as UTF-8');
  expect(parse(Buffer.from('{"a": 1, "a": 2}'))).toThrow('x.json: is not JSON: the key "a" occurs twice');
  expect(parse(new Uint8Array(0))).toThrow('x.json: is not JSON');
  expect(parse(marked(''))).toThrow('x.json: is not JSON');
  expect(parse(marked('\ufeff{}'))).toThrow('x.json: is not JSON');
  expect(parseJsonFile(marked('{"a": "\u00e9"}'), 'x.json')).toEqual({ a: '\u00e9' });
});
