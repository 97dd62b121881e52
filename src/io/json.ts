// Strict JSON files: a repeated key is an error. JSON.parse silently keeps the last value, so that two programs can
// read different things from the same bytes.
//
// Windows editors begin a UTF-8 file with a byte-order mark (EF BB BF), which is not part of the text. Older Windows
// shells write UTF-16 (FF FE, or without a mark a NUL next to each letter), which is refused, like anything that is not
// UTF-8.
import { FileError } from '../errors.ts';
import { writeFileAtomic } from './atomic.ts';

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * @throws FileError for text in UTF-16. JSON and programs in UTF-8 begin with two ASCII letters or a byte-order mark.
 */
export function refuseUtf16([first, second]: Uint8Array, path: string): void {
  if (first === 0 || second === 0 || (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    throw new FileError(path, 'is text in UTF-16; save it as UTF-8');
}

/** Parses a JSON file. @throws FileError if it is not UTF-8 or not JSON, and for a repeated key */
export function parseJsonFile(bytes: Uint8Array, path: string): unknown {
  refuseUtf16(bytes, path);
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw new FileError(path, 'is not text in UTF-8; save it as UTF-8', { cause });
  }
  try {
    return parseStrictJson(text);
  } catch (cause) {
    throw new FileError(path, `is not JSON: ${(cause as Error).message}`, { cause });
  }
}

/** Maximum nesting depth: functions that walk a value recurse this deep. */
const MAX_DEPTH = 500;

/** Parses as JSON.parse does. @throws SyntaxError also for a repeated key and for more than 500 levels of nesting */
export function parseStrictJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  if (isDeep(text)) throw new SyntaxError(`it is nested deeper than ${MAX_DEPTH}`);
  const repeated = repeatedKey(text);
  if (repeated !== undefined) throw new SyntaxError(`the key ${JSON.stringify(repeated)} occurs twice`);
  return value;
}

function isDeep(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') while (text[++at] !== '"') if (text[at] === '\\') at++;
    if (character === '{' || character === '[') depth++;
    if (character === '}' || character === ']') depth--;
    if (depth > MAX_DEPTH) return true;
  }
  return false;
}

// `text` is valid JSON, so a string followed by a colon is a key of the innermost open object.
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '{') open.push(new Set());
    else if (text[at] === '}') open.pop();
    else if (text[at] === '"') {
      const start = at++;
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
      let next = at + 1;
      while (' \t\n\r'.includes(text[next] ?? '.')) next++;
      if (text[next] !== ':') continue;
      const key = JSON.parse(text.slice(start, at + 1)) as string;
      const keys = open[open.length - 1];
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

/** Writes a value as JSON that people can read, whole or not at all. @throws FileError */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, [Buffer.from(`${JSON.stringify(value, null, 2)}\n`)]);
}
