// Texts that the package reads as they are: kernel sources, tables of measured rates, and the script of a worker. In the place of this module
// scripts/build.js puts one that holds all of them, so that the package, and a program that a bundler made of it, needs no
// file beside itself.
import { readFileSync } from 'node:fs';

/** What the paths of such texts are relative to. */
export const textRoot = new URL('..', import.meta.url).href;

/** @throws the system's error, or Error for a text that the package does not have */
export function readText(url: URL): string {
  return readFileSync(url, 'utf8');
}
