#!/usr/bin/env node
// The entry point of the command, which runs the built program.
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
try {
  if (existsSync(main)) await import(main.href);
  else {
    console.error('rectiflow: not built yet; run `npm run build` in its folder');
    process.exitCode = 1;
  }
} catch (error) {
  // The message of a system error, such as too many open files, is enough; any other error is a bug and shows its stack.
  if (error?.syscall === undefined) throw error;
  console.error(`rectiflow: its program cannot be read: ${error.message}`);
  process.exitCode = 1;
}
