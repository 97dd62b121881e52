// Reads the package's text files: kernel sources, tuning tables and a worker's script. scripts/build.js replaces this module with one that contains
// all of them, so that the package, and a program bundled from it, needs no other files.
import { readFileSync } from 'node:fs';

/** The base URL of the text files. */
export const textRoot = new URL('..', import.meta.url).href;

/** @throws the system's error, or Error for a text that the package does not contain */
export function readText(url: URL): string {
  return readFileSync(url, 'utf8');
}
