// A process that takes and frees memory of the device cpu, for test/device/returned_memory.test.ts. It prints what it holds of the
// system's memory after each part, in mebibytes.
import { readFileSync } from 'node:fs';
import { openDevice } from '../../src/device/open.ts';
import { full } from '../../src/tensor/create.ts';

export interface MemoryReport {
  start: number;
  live: number;
  freed: number;
  trimmed: number;
  /** The most that was held while blocks of ever other sizes came and went, 128 MiB at a time. */
  changing: number;
}

const MiB = 2 ** 20;
const device = await openDevice('cpu', { threads: 1 });
/** Pages without a file behind them. */
const held = () => Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
const take = (mebibytes: number) => full([(mebibytes * MiB) / 4], 1, { device });

const start = held();
const tensors = Array.from({ length: 8 }, () => take(64));
const live = held();
for (const tensor of tensors) tensor.dispose();
const freed = held();
device.trim();
const trimmed = held();
let changing = 0;
for (let i = 0; i < 12; i++) {
  const pair = [take(64 + 8 * i), take(64 - 4 * i)];
  changing = Math.max(changing, held());
  for (const tensor of pair) tensor.dispose();
}
console.log(JSON.stringify({ start, live, freed, trimmed, changing } satisfies MemoryReport));
process.exit(0);
