// The tokenizer against the ids of Hugging Face's CLIPTokenizer (transformers 5.18), and damaged files.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { ClipTokenizer, loadTokenizer } from '../../../src/run/text/tokenizer.ts';
import { golden, readJson } from '../../support/instaflow.ts';

const folder = join(golden, 'pipeline', 'tokenizer');

test('seven prompts have the ids of a small vocabulary', async () => {
  const { prompts, ids } = readJson<{ prompts: string[]; ids: number[][] }>('tokens.json');
  const tokenizer = await loadTokenizer(folder);
  for (const [i, prompt] of prompts.entries()) expect([...tokenizer.encode(prompt).ids], prompt).toEqual(ids[i]);
});

test('a long prompt keeps start and end, and says how much was cut', async () => {
  const tokenizer = await loadTokenizer(folder);
  const { ids, cut } = tokenizer.encode('a '.repeat(80));
  expect(ids.length).toBe(77);
  expect(ids[76]).toBe(tokenizer.encode('').ids[76]);
  expect(cut).toBe(5);
  expect(tokenizer.encode('a '.repeat(75)).cut).toBe(0);
});

// OpenAI's vocabulary is not part of this repository.
const places = [
  process.env.RECTIFLOW_CLIP_BPE,
  fileURLToPath(new URL('../../../../shared/golden/clip_bpe/bpe_simple_vocab_16e6.txt.gz', import.meta.url)),
];
const vocabulary = places.find((path) => path !== undefined && existsSync(path));

describe.skipIf(!vocabulary)("OpenAI's vocabulary (RECTIFLOW_CLIP_BPE, bpe_simple_vocab_16e6.txt.gz)", () => {
  test('52 prompts have the ids of Hugging Face', () => {
    const lines = gunzipSync(readFileSync(vocabulary as string))
      .toString('utf8')
      .split('\n');
    const merges = lines.slice(1, 48_895);
    const bytes = [...span(0x21, 0x7e), ...span(0xa1, 0xac), ...span(0xae, 0xff)];
    const symbols = [...bytes, ...span(0x100, 0x143)].map((code) => String.fromCharCode(code));
    const words = [...symbols, ...symbols.map((symbol) => `${symbol}</w>`), ...merges.map((m) => m.replace(' ', ''))];
    const tokens = [...words, '<|startoftext|>', '<|endoftext|>'];
    const tokenizer = new ClipTokenizer(new Map(tokens.map((token, id) => [token, id])), merges);
    const cases = readJson<{ prompt: string; ids: number[] }[]>('clip_tokens.json');
    expect(cases.length).toBe(52);
    for (const { prompt, ids } of cases) expect([...tokenizer.encode(prompt).ids], prompt).toEqual(ids);
  });
});

function span(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

describe('damaged files', () => {
  const made: string[] = [];
  afterAll(() => {
    for (const path of made) rmSync(path, { recursive: true, force: true });
  });
  const changed = (file: string, text: string) => {
    const copy = mkdtempSync(join(tmpdir(), 'rectiflow-tokenizer-'));
    made.push(copy);
    cpSync(folder, copy, { recursive: true });
    writeFileSync(join(copy, file), text);
    return copy;
  };
  const whole = readFileSync(join(folder, 'vocab.json'), 'utf8');
  test.each([
    ['vocab.json', '[]', 'is not a JSON object'],
    ['vocab.json', '{"a": 1}', 'lacks the token "<|startoftext|>"'],
    ['vocab.json', whole.replace(/"a": ?\d+/, '"a": -1'), 'gives the token "a" an id'],
    ['vocab.json', whole.replace(/"a": ?\d+/, '"a": 1, "a": 2'), 'occurs twice'],
    ['merges.txt', '#version: 0.2\na b c\n', 'is not a pair of symbols'],
    ['merges.txt', 'zz qq\n', 'lacks the token "zzqq"'],
    ['tokenizer_config.json', '7', 'is not a JSON object'],
  ])('%s of %#: %s', async (file, text, message) => {
    await expect(loadTokenizer(changed(file, text))).rejects.toThrow(message);
  });

  test('a folder without files', async () => {
    const copy = changed('vocab.json', whole);
    rmSync(join(copy, 'merges.txt'));
    await expect(loadTokenizer(copy)).rejects.toThrow('merges.txt: no such file');
  });
});
