// A vocabulary made for a few texts, with CLIP's rules: byte pair encoding (Sennrich et al. 2016) merges the most frequent
// pair of symbols until each word of the texts is one token. Other texts are made of these tokens and of single bytes.
import { byteSymbols, ClipTokenizer, END, mergePair, START, symbolsOfWords } from '../text/tokenizer.ts';

/**
 * The tokenizer of some texts. The bytes, those that end a word, the merges and the two special tokens have their ids in CLIP's
 * order. Where pairs are equally frequent, the first in the order of their characters is merged first.
 * @param length tokens of a sequence, with start and end
 */
export function learnTokenizer(texts: readonly string[], length: number): ClipTokenizer {
  const found = new Map<string, { symbols: string[]; count: number }>();
  for (const symbols of texts.flatMap(symbolsOfWords)) {
    const word = symbols.join(' ');
    const known = found.get(word) ?? { symbols, count: 0 };
    known.count++;
    found.set(word, known);
  }
  const words = [...found.values()];
  const merges: string[] = [];
  for (;;) {
    const pair = mostFrequentPair(words);
    if (pair === undefined) break;
    merges.push(pair);
    for (const word of words) word.symbols = mergePair(word.symbols, pair);
  }
  const merged = merges.map((pair) => pair.replace(' ', ''));
  const tokens = [...byteSymbols, ...byteSymbols.map((symbol) => `${symbol}</w>`), ...merged, START, END];
  // Two merges may give one token, such as those of "ab c" and "a bc".
  const vocabulary = new Map([...new Set(tokens)].map((token, id) => [token, id]));
  return new ClipTokenizer(vocabulary, merges, { length });
}

function mostFrequentPair(words: readonly { symbols: string[]; count: number }[]): string | undefined {
  const counts = new Map<string, number>();
  for (const { symbols, count } of words)
    for (let i = 0; i + 1 < symbols.length; i++) {
      const pair = `${symbols[i]} ${symbols[i + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  let best: string | undefined;
  for (const [pair, count] of counts) {
    const most = best === undefined ? 0 : (counts.get(best) as number);
    if (best === undefined || count > most || (count === most && pair < best)) best = pair;
  }
  return best;
}
