// The version and revision of this build, written by the build: the target machine may have neither package.json nor git.
import { readFileSync } from 'node:fs';

export function builtFrom(): { version: string; revision: string } {
  return JSON.parse(readFileSync(new URL('./about.json', import.meta.url), 'utf8'));
}
