// A kernel file with the project's own headers put in its place: the very text that is hashed, compiled and kept beside
// the binary. `#line` directives keep a compiler's messages pointing at the files a person edits.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CompileError } from '../errors.ts';

const INCLUDE = /^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[ \t]*$/;

/** @param url the file; `#include "x.h"` is looked for beside the includer, then in the folders above up to `kernels/` */
export function amalgamate(url: URL): string {
  const seen = new Set<string>();
  const expand = (file: URL): string => {
    const text = readText(file);
    const name = basename(fileURLToPath(file));
    const lines = text.split('\n').map((line, index) => {
      const match = INCLUDE.exec(line);
      if (!match) return line;
      const header = resolveHeader(match[1], file);
      if (seen.has(header.href)) return '';
      seen.add(header.href);
      return `${expand(header)}\n#line ${index + 2} "${name}"`;
    });
    return `#line 1 "${name}"\n${lines.join('\n')}`;
  };
  return expand(url);
}

function resolveHeader(name: string, from: URL): URL {
  for (const place of [name, `../${name}`]) {
    const candidate = new URL(place, from);
    try {
      readFileSync(candidate);
      return candidate;
    } catch {
      // Look in the next place.
    }
  }
  throw new CompileError(`${fileURLToPath(from)}: its header "${name}" is missing; reinstall the package`);
}

function readText(url: URL): string {
  try {
    return readFileSync(url, 'utf8');
  } catch (cause) {
    throw new CompileError(`kernel source ${fileURLToPath(url)} cannot be read; reinstall the package`, { cause });
  }
}
