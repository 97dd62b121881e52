// Inlines the project's own headers into a kernel file. The resulting text is hashed, compiled and kept next to the binary. `#line`
// directives keep a compiler's messages pointing at the files that a person edits.
import { createHash } from 'node:crypto';
import { CompileError } from '../errors.ts';
import { needHeaders, readText, textRoot } from './texts.ts';

const INCLUDE = /^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[ \t]*$/;

/** Sources that a program gave as text, by URL. */
const given = new Map<string, string>();

/**
 * The URL of a source that is not a file. It includes headers as the files of src/kernels do.
 * @param name the file name that compilers print
 */
export function textUrl(name: string, text: string): URL {
  needHeaders();
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const url = new URL(`kernels/${name}?${hash}`, textRoot);
  given.set(url.href, text);
  return url;
}

/** Whether the source is a text that textUrl() took. */
export function isGivenText(url: URL): boolean {
  return given.has(url.href);
}

/** The URL of a kernel file. @param path below src/, or a URL */
export function sourceUrl(path: string): URL {
  return new URL(path, textRoot);
}

/** @param url the file; `#include "x.h"` is looked for next to the includer, then in a folder `include` there or one level up */
export function amalgamate(url: URL): string {
  const seen = new Set<string>();
  const expand = (file: URL, text: string): string => {
    const name = fileName(file);
    const lines = text.split('\n').map((line, index) => {
      const match = INCLUDE.exec(line);
      if (!match) return line;
      const header = findHeader(match[1], file);
      if (seen.has(header.url.href)) return '';
      seen.add(header.url.href);
      return `${expand(header.url, header.text)}\n#line ${index + 2} "${name}"`;
    });
    return `#line 1 "${name}"\n${lines.join('\n')}`;
  };
  const whole = expand(url, sourceText(url));
  const needed = url.pathname.endsWith('.c') ? 'pool.h' : 'common.cuh';
  if (isGivenText(url) && ![...seen].some((header) => header.endsWith(`/${needed}`)))
    throw new CompileError(`${fileName(url)}: expected #include "${needed}", without which kernels do not work`);
  return whole;
}

function fileName(url: URL): string {
  return url.pathname.replace(/^.*\//, '');
}

function findHeader(name: string, from: URL): { url: URL; text: string } {
  const refused = new CompileError(`${fileName(from)}: expected headers of the package in quotes, got "${name}"`);
  if (isGivenText(from) && !/^\w+\.(h|cuh)$/.test(name)) throw refused;
  for (const place of [name, `include/${name}`, `../include/${name}`]) {
    const url = new URL(place, from);
    try {
      return { url, text: readText(url) };
    } catch {
      // Try the next place.
    }
  }
  if (isGivenText(from)) throw refused;
  throw new CompileError(`${from.pathname}: its header "${name}" is missing; reinstall the package`);
}

function sourceText(url: URL): string {
  const text = given.get(url.href);
  if (text !== undefined) return text;
  try {
    return readText(url);
  } catch (cause) {
    throw new CompileError(`kernel source ${url.pathname} cannot be read; reinstall the package`, { cause });
  }
}
