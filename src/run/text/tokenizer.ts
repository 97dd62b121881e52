// The tokenizer of CLIP (Radford et al. 2021): byte pair encoding of lower-cased text (Sennrich et al. 2016). Its ids are those
// of Hugging Face's CLIPTokenizer, which Stable Diffusion uses; OpenAI's own cleans the text in other ways before.
//
// text -> NFC, one space for white space, lower case -> words -> UTF-8 bytes as symbols, "</w>" at the last -> merges
import { join } from 'node:path';
import {
  checkArgument,
  checkArguments,
  checkOptions,
  instanceOf,
  kinds,
  listOf,
  type OptionKinds,
  wholeFrom,
} from '../../arguments.ts';
import { FileError } from '../../errors.ts';
import { exists, readWhole } from '../../io/file.ts';
import { parseJsonFile } from '../../io/json.ts';

export interface TokenizerOptions {
  /** Tokens of a sequence, with start and end; default 77. */
  length?: number;
  /** The token that fills a sequence; default: the end, as in Stable Diffusion 1. */
  pad?: string;
}

const lengthKind = wholeFrom(2, 1024);
const tokenizerOptions: OptionKinds<TokenizerOptions> = { length: lengthKind, pad: kinds.text };

export interface Tokens {
  /** `length` ids: start, text, end, padding. */
  ids: Int32Array;
  /** Tokens of the text that did not fit and were left out; 0 if all fit. */
  cut: number;
}

export const START = '<|startoftext|>';
export const END = '<|endoftext|>';

/** The special tokens, which are found in the text as it is given. */
const special = /(<\|startoftext\|>|<\|endoftext\|>)/;

/** Words of lower-cased text: endings of English, runs of letters, single digits, runs of anything else. */
const words = /'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu;

/** Longest prompt, in characters; a longer one is refused, because no tokenizer of 77 tokens needs it. */
const LONGEST = 1_000_000;

/**
 * Byte pair encoding with CLIP's rules of text. It holds no tensors.
 * @example
 * const tokenizer = await loadTokenizer('instaflow/tokenizer');
 * tokenizer instanceof ClipTokenizer; // true
 * tokenizer.encode('a cat '.repeat(50)).cut > 0; // true
 */
export class ClipTokenizer {
  /** Tokens of a sequence. */
  readonly length: number;
  /** The largest id. */
  readonly largest: number;
  /** Ids by token. */
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Pairs of symbols, the first to merge first. */
  readonly merges: readonly string[];
  /** The token that fills a sequence. */
  readonly padToken: string;
  private readonly ranks: ReadonlyMap<string, number>;
  private readonly known = new Map<string, readonly number[]>();
  private readonly start: number;
  private readonly end: number;
  private readonly pad: number;

  /**
   * @param vocabulary ids by token, such as "cat</w>"
   * @param merges pairs of symbols with a space between them, the first to merge first
   * @throws FileError naming `origin` for a vocabulary without the tokens that the rules need
   */
  constructor(
    vocabulary: ReadonlyMap<string, number>,
    merges: readonly string[],
    options: TokenizerOptions = {},
    origin = 'vocabulary',
  ) {
    checkArguments('ClipTokenizer', {
      vocabulary: [vocabulary, vocabularyKind],
      merges: [merges, mergesKind],
      origin: [origin, kinds.text],
    });
    const { length = 77, pad = END } = checkOptions('ClipTokenizer', options, tokenizerOptions);
    const idOf = (token: string) => {
      const id = vocabulary.get(token);
      if (id === undefined) throw new FileError(origin, `lacks the token "${token}"`);
      return id;
    };
    this.length = length;
    this.vocabulary = vocabulary;
    this.merges = merges;
    this.padToken = pad;
    let largest = 0;
    for (const id of vocabulary.values()) largest = Math.max(largest, id);
    this.largest = largest;
    this.start = idOf(START);
    this.end = idOf(END);
    this.pad = idOf(pad);
    for (const symbol of byteSymbols) for (const token of [symbol, `${symbol}</w>`]) idOf(token);
    for (const merge of merges) idOf(merge.replace(' ', ''));
    this.ranks = new Map(merges.map((merge, rank) => [merge, rank]));
  }

  /**
   * The ids of a text, without start, end and padding.
   * @throws ArgumentError for anything but a text of at most a million characters
   */
  idsOf(text: string): number[] {
    checkArgument('ClipTokenizer', 'text', text, textKind);
    return text.split(special).flatMap((part) => {
      if (part === START) return [this.start];
      if (part === END) return [this.end];
      return Array.from(clean(part).matchAll(words), ([word]) => this.idsOfWord(word)).flat();
    });
  }

  /** A sequence of `length` ids; a text that is too long is cut at its end. */
  encode(text: string): Tokens {
    const own = this.idsOf(text);
    const kept = own.slice(0, this.length - 2);
    const ids = new Int32Array(this.length).fill(this.pad);
    ids.set([this.start, ...kept, this.end]);
    return { ids, cut: own.length - kept.length };
  }

  private idsOfWord(word: string): readonly number[] {
    const known = this.known.get(word);
    if (known) return known;
    const ids = this.merged(word).map((symbol) => this.vocabulary.get(symbol) as number);
    // A long text has few long words; without a bound a server would keep all that it has ever seen.
    if (this.known.size < 100_000 && word.length < 100) this.known.set(word, ids);
    return ids;
  }

  /** The symbols of a word after all merges: of the pairs that occur, the one of the lowest rank is merged first. */
  private merged(word: string): string[] {
    let symbols = symbolsOf(word);
    for (;;) {
      let best: string | undefined;
      let least = Number.POSITIVE_INFINITY;
      for (let i = 0; i + 1 < symbols.length; i++) {
        const pair = `${symbols[i]} ${symbols[i + 1]}`;
        const rank = this.ranks.get(pair);
        if (rank !== undefined && rank < least) [best, least] = [pair, rank];
      }
      if (best === undefined) return symbols;
      symbols = mergePair(symbols, best);
    }
  }
}

const vocabularyKind = instanceOf(Map, 'a Map of ids by token');
const mergesKind = listOf(kinds.text, 'texts');
const textKind = { expected: `a text of at most ${LONGEST} characters`, accepts: isText };

function isText(value: unknown): boolean {
  return typeof value === 'string' && value.length <= LONGEST;
}

/** The symbol of each byte: itself for printable characters of Latin-1, else the next letter from U+0100. */
export const byteSymbols: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();

/** The words of a text as symbols that nothing has been merged of. */
export function symbolsOfWords(text: string): string[][] {
  return Array.from(clean(text).matchAll(words), ([word]) => symbolsOf(word));
}

function symbolsOf(word: string): string[] {
  const symbols = Array.from(new TextEncoder().encode(word), (byte) => byteSymbols[byte]);
  symbols[symbols.length - 1] += '</w>';
  return symbols;
}

/** The symbols after every occurrence of a pair, with a space between its two, has been merged. */
export function mergePair(symbols: readonly string[], pair: string): string[] {
  const next: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    const merges = i + 1 < symbols.length && `${symbols[i]} ${symbols[i + 1]}` === pair;
    next.push(merges ? symbols[i] + symbols[++i] : symbols[i]);
  }
  return next;
}

/** NFC, a space for each run of white space, lower case. Letters are lowered one by one, as in the original. */
function clean(text: string): string {
  const spaced = text.normalize('NFC').replace(/\p{White_Space}+/gu, ' ');
  return Array.from(spaced, (character) => character.toLowerCase()).join('');
}

const MAX_BYTES = 64 * 2 ** 20;

/**
 * Reads the tokenizer of a diffusers folder: `vocab.json` and `merges.txt`, and the padding and the length in
 * `tokenizer_config.json` and `special_tokens_map.json` where they exist.
 * @param folder the folder of these files
 * @throws FileError for files that are missing, damaged, or do not belong together
 * @example
 * const tokenizer = await loadTokenizer('instaflow/tokenizer');
 * tokenizer.encode('a cat').ids.length; // 77
 */
export async function loadTokenizer(folder: string): Promise<ClipTokenizer> {
  checkArgument('loadTokenizer', 'folder', folder, kinds.path);
  const vocabularyPath = join(folder, 'vocab.json');
  const vocabulary = await readVocabulary(vocabularyPath);
  const merges = await readMerges(join(folder, 'merges.txt'));
  const config = await readRecord(join(folder, 'tokenizer_config.json'));
  const tokens = await readRecord(join(folder, 'special_tokens_map.json'));
  const length = config.model_max_length;
  const pad = contentOf(tokens.pad_token) ?? contentOf(config.pad_token);
  return new ClipTokenizer(
    vocabulary,
    merges,
    { length: lengthKind.accepts(length) ? (length as number) : 77, pad },
    vocabularyPath,
  );
}

async function readVocabulary(path: string): Promise<Map<string, number>> {
  const value = await readRecord(path, true);
  const entries = Object.entries(value);
  const ids = new Set<unknown>();
  for (const [token, id] of entries) {
    if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) >= 2 ** 31 || ids.has(id))
      throw new FileError(path, `gives the token "${token.slice(0, 40)}" an id that is not a number of its own`);
    ids.add(id);
  }
  return new Map(entries as [string, number][]);
}

async function readMerges(path: string): Promise<string[]> {
  const bytes = await readWhole(path, MAX_BYTES);
  const lines = new TextDecoder()
    .decode(bytes)
    .split('\n')
    .map((line) => line.replace(/\r$/, ''));
  const merges = lines.filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')));
  const wrong = merges.findIndex((merge) => !/^\S+ \S+$/.test(merge));
  if (wrong >= 0) throw new FileError(path, `holds "${merges[wrong].slice(0, 40)}", which is not a pair of symbols`);
  return merges;
}

/** The JSON object in a file; an empty one for a file that need not exist. */
async function readRecord(path: string, required = false): Promise<Record<string, unknown>> {
  if (!required && !(await exists(path))) return {};
  const value = parseJsonFile(await readWhole(path, MAX_BYTES), path);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new FileError(path, 'is not a JSON object');
  return value as Record<string, unknown>;
}

/** The text of a token, which is given alone or with its properties. */
function contentOf(token: unknown): string | undefined {
  if (typeof token === 'string') return token;
  const content = (token as { content?: unknown } | null | undefined)?.content;
  return typeof content === 'string' ? content : undefined;
}
