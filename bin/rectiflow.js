#!/usr/bin/env node
// The command before and after the build.
import { existsSync } from 'node:fs';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(main)) await import(main.href);
else {
  console.error('rectiflow: not built yet; run `npm run build` in its folder');
  process.exitCode = 1;
}
