// What this build was made from, written by the build: where it runs there may be no package.json and no git.
import { readFileSync } from 'node:fs';

export function builtFrom(): { version: string; revision: string } {
  return JSON.parse(readFileSync(new URL('./about.json', import.meta.url), 'utf8'));
}
