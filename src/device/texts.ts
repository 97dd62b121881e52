// Reads the package's text files: kernel sources, tuning tables and a worker's script. In dist each of them is a module that
// the modules which name it import (scripts/texts.js), so that the package needs no other files, and a program bundled from
// it contains the texts that it reaches.
import { readFileSync } from 'node:fs';

/** The base URL of the text files. */
export const textRoot = new URL('..', import.meta.url).href;

/** @throws the system's error, or Error for a text that the package does not contain */
export function readText(url: URL): string {
  return readFileSync(url, 'utf8');
}

/** Makes the headers available to sources that a program gives as text. A bundle of such a program contains all of them. */
export function needHeaders(): void {}
