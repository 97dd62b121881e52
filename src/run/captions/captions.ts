// The captions of a configuration: the empty one, then one for each class of its data set; and which caption a sample has.
//   training      that of the image's label, or the empty one with probability training.caption_dropout
//   pairs         one of the classes at random, or the empty one with that probability
//   other samples those of the classes in turn, by the number of the sample
import { randomBlock } from '../../data/random.ts';
import { ConfigError } from '../../errors.ts';
import { streams } from '../../tensor/streams.ts';
import { classNames } from '../config/tables/data.ts';
import type { Config } from '../config/types.ts';
import type { ClipTokenizer } from '../text/tokenizer.ts';
import { learnTokenizer } from './vocabulary.ts';

export interface Captions {
  /** The empty caption, then that of each class. */
  readonly table: readonly string[];
  readonly tokenizer: ClipTokenizer;
}

const known = new Map<string, Captions>();

/**
 * The captions of a configuration; undefined if its flow takes no text.
 * @throws ConfigError for captions that are longer than model.text_length
 */
export function captionsOf({ data, model }: Config): Captions | undefined {
  const names = classNames[data.dataset];
  if (model.name !== 'unet2d_condition' || !names) return undefined;
  const key = JSON.stringify([data.caption, names, model.text_length]);
  const made = known.get(key);
  if (made) return made;
  const texts = names.map((name) => data.caption.replaceAll('{class}', name));
  const tokenizer = learnTokenizer(texts, model.text_length);
  const longest = Math.max(...texts.map((text) => tokenizer.idsOf(text).length)) + 2;
  if (longest > model.text_length)
    throw new ConfigError(
      `model.text_length is ${model.text_length}, but the captions of data.caption take up to ${longest} tokens with start and end`,
    );
  const captions = { table: ['', ...texts], tokenizer };
  known.set(key, captions);
  return captions;
}

/** The tokens of each text, cut at the tokenizer's length. */
export function tokensOf({ tokenizer }: Captions, texts: readonly string[]): Int32Array[] {
  return texts.map((text) => tokenizer.encode(text).ids);
}

/** The captions of samples first, first + 1, ..., those of the classes in turn. */
export function captionsInTurn({ table }: Captions, first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => table[1 + classInTurn(first + i, table.length - 1)]);
}

/** The class that sample number `index` has by default. */
export function classInTurn(index: number, classes: number): number {
  return index % classes;
}

/** The place in the table of the caption that item `item` of a run is trained with. */
export function trainedCaption(label: number, item: number, { seed, training }: Config): number {
  return isEmpty(item, streams.emptyCaptions, seed, training.caption_dropout) ? 0 : label + 1;
}

/** The places of the captions of `count` pairs, i32. */
export function pairCaptions({ table }: Captions, count: number, { seed, training }: Config): Int32Array {
  const classes = table.length - 1;
  return Int32Array.from({ length: count }, (_, pair) => {
    const [, word] = randomBlock(0, pair, streams.pairCaptions, seed);
    return isEmpty(pair, streams.pairCaptions, seed, training.caption_dropout)
      ? 0
      : 1 + Math.floor((word / 2 ** 32) * classes);
  });
}

function isEmpty(item: number, stream: number, seed: number, share: number): boolean {
  return randomBlock(0, item, stream, seed)[0] < share * 2 ** 32;
}
