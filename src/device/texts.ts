// Reads the package's text files: kernel sources, tuning tables and a worker's script. In dist each of them is a module that
// the modules which name it import (scripts/texts.js), so that the package needs no other files, and a program bundled from
// it contains the texts that it reaches.
import { readFileSync } from 'node:fs';

/** The base URL of the text files. */
export const textRoot = new URL('..', import.meta.url).href;

/** Sources come without comments. @throws the system's error, or Error for a text that the package does not contain */
export function readText(url: URL): string {
  return withoutComments(url.pathname, readFileSync(url, 'utf8'));
}

/**
 * A text as the package contains it: a C or CUDA source without comments and indentation, on the same lines; any other text
 * unchanged. scripts/texts.js uses it too, so that the hashes of sources in the package equal those of the files.
 */
export function withoutComments(path: string, text: string): string {
  if (!/\.(c|h|cu|cuh)$/.test(path)) return text;
  const tokens = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g;
  const code = text.replace(tokens, (token) => (token.startsWith('/') ? ` ${token.replace(/[^\n]/g, '')}` : token));
  return code.replace(/^[ \t]+|[ \t]+$/gm, '');
}

/** Makes the headers available to sources that a program gives as text. A bundle of such a program contains all of them. */
export function needHeaders(): void {}
