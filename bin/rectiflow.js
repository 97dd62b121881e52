#!/usr/bin/env node
// The command line, from the build or from the sources.
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
try {
  if (existsSync(main)) await import(main.href);
  else {
    console.error('rectiflow: not built yet; run `npm run build` in its folder');
    process.exitCode = 1;
  }
} catch (error) {
  // The system's refusals, as of too many open files, say what to do; anything else is a fault and shows where.
  if (error?.syscall === undefined) throw error;
  console.error(`rectiflow: its program cannot be read: ${error.message}`);
  process.exitCode = 1;
}
