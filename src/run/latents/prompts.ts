// The texts of pairs: a file with a text in each line.
import { randomBlock } from '../../data/random.ts';
import { ConfigError, FileError } from '../../errors.ts';
import { asFileError, openRegular } from '../../io/file.ts';
import { streams } from '../../tensor/streams.ts';
import { userPath } from '../config/official_flags.ts';
import type { Config } from '../config/types.ts';

/** Most texts and bytes of a file, and most characters of a text: what the manifest of pairs holds. */
const MOST_TEXTS = 2 ** 20 - 1;
const MOST_BYTES = 2 ** 27;
const LONGEST = 10_000;

export interface Prompts {
  /** The empty text, then those of the file, each once. */
  table: readonly string[];
  /** The place of each pair's text in the table. */
  column: Int32Array;
}

/**
 * Reads the texts of a file: UTF-8, one in each line. Spaces around a text, empty lines and repeated texts are left out.
 * @throws FileError for a file that is empty, too large, or no text
 */
export async function readPrompts(path: string): Promise<string[]> {
  const handle = await openRegular(path, 'read');
  let bytes: Buffer;
  try {
    const { size } = await handle.stat();
    if (size > MOST_BYTES)
      throw new FileError(
        path,
        `has ${size} bytes, expected at most ${MOST_BYTES}; divide it, and make pairs of each part`,
      );
    bytes = await handle.readFile();
  } catch (error) {
    throw asFileError(path, error);
  } finally {
    await handle.close();
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new FileError(path, 'is not a text in UTF-8; give a file of texts, one in each line', { cause });
  }
  const found = new Set<string>();
  for (const [i, line] of text.split(/\r\n|\n|\r/).entries()) {
    if (/[^\P{Cc}\t]/u.test(line))
      throw new FileError(path, `has a control character in line ${i + 1}; give a file of texts, one in each line`);
    const prompt = line.trim();
    if (prompt.length > LONGEST)
      throw new FileError(path, `has ${prompt.length} characters in line ${i + 1}, expected at most ${LONGEST}`);
    if (prompt !== '') found.add(prompt);
  }
  if (found.size === 0) throw new FileError(path, 'holds no texts; give a file of texts, one in each line');
  if (found.size > MOST_TEXTS)
    throw new FileError(path, `holds ${found.size} texts, expected at most ${MOST_TEXTS}; divide it`);
  return [...found];
}

/**
 * The texts of a configuration's pairs: those of data.root_path in turn, or the empty one with probability
 * training.caption_dropout.
 * @throws ConfigError, FileError
 */
export async function promptsOf(config: Config): Promise<Prompts> {
  const path = userPath(config.data.root_path);
  if (!path) throw new ConfigError('data.root_path: expected the file of texts, one in each line; got none');
  const prompts = await readPrompts(path);
  const { total_number_of_samples: count } = config.reflow;
  const { caption_dropout: share } = config.training;
  const column = Int32Array.from({ length: count }, (_, pair) => {
    const [word] = randomBlock(0, pair, streams.pairCaptions, config.seed);
    return word < share * 2 ** 32 ? 0 : 1 + (pair % prompts.length);
  });
  return { table: ['', ...prompts], column };
}
