// Reads files that unpack to much more than their size, in a separate process: node --import jiti/register bomb_child.ts FOLDER
// Prints one line of JSON: for each file the error or the result, and the peak memory of the process.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadCifar10, loadMnist } from '../../src/data/index.ts';
import { RectiflowError } from '../../src/errors.ts';
import { readStatistics } from '../../src/eval/statistics.ts';
import { readNpz, readPng } from '../../src/io/index.ts';

export interface BombReport {
  outcomes: Record<string, string>;
  megabytes: number;
  slowestMilliseconds: number;
}

const [, , folder] = process.argv;

const readers: Record<string, (path: string) => Promise<unknown>> = {
  npz: async (path) => `${[...(await readNpz(path)).values()].map(({ data }) => data.length)} values`,
  'max.npz': async (path) => {
    const arrays = await readNpz(path, { maxBytes: 2 ** 30 });
    return `${[...arrays.values()].map(({ data }) => data.length)} values`;
  },
  'stats.npz': readStatistics,
  png: async (path) => `${(await readPng(path)).data.length} values`,
  mnist: async (path) => `${(await loadMnist(path, 'train')).count} images`,
  'tar.gz': async (path) => `${(await loadCifar10(path, 'train')).dataset.count} images`,
};

const report: BombReport = { outcomes: {}, megabytes: 0, slowestMilliseconds: 0 };
for (const name of readdirSync(folder).sort()) {
  const { user, system } = process.cpuUsage();
  const kind = name.slice(name.indexOf('.') + 1);
  report.outcomes[name] = await readers[kind](join(folder, name)).then(String, (error) => {
    if (!(error instanceof RectiflowError)) return `${error?.stack}`;
    return error.message.slice(join(folder, name).length);
  });
  const spent = process.cpuUsage();
  const milliseconds = (spent.user + spent.system - user - system) / 1000;
  report.slowestMilliseconds = Math.max(report.slowestMilliseconds, milliseconds);
}
report.megabytes = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify(report));
