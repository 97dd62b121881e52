// Compares `rectiflow estimate` with what the stages of the same chain then take. Run it on a quiet machine:
//   node bench/estimate.js [--config digits] [--busy] [-- options of both commands, such as --config.chain.pairs=256]
// --busy keeps one core busy with other work meanwhile. The aim is a ratio of the total within 1.5 on a quiet machine, and
// within 2.5 with one core busy.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const bin = fileURLToPath(new URL('../bin/rectiflow.js', import.meta.url));
const { values, positionals } = parseArgs({
  options: { config: { type: 'string', default: 'digits' }, busy: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const workdir = mkdtempSync(join(tmpdir(), 'rectiflow-estimate-'));
const busy = values.busy && spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' });

/** Runs the command; `onLine` gets each line with the seconds since the start. @returns standard output */
async function rectiflow(words, onLine = () => {}) {
  const begin = performance.now();
  const child = spawn(process.execPath, [bin, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let line = '';
  child.stdout.setEncoding('utf8').on('data', (piece) => {
    text += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece) => {
    const lines = (line + piece).split('\n');
    line = lines.pop();
    for (const one of lines) onLine(one, (performance.now() - begin) / 1000);
  });
  const status = await new Promise((resolve) => child.on('close', resolve));
  if (status !== 0) throw new Error(`rectiflow ${words.join(' ')} ended with ${status}: ${line}`);
  return { text, seconds: (performance.now() - begin) / 1000 };
}

/** "40 s", "2 min", "1.5 h" as seconds. */
function secondsOf(text) {
  const [, number, unit] = /^([\d.]+) (s|min|h|days)$/.exec(text);
  return Number(number) * { s: 1, min: 60, h: 3600, days: 86_400 }[unit];
}

try {
  const common = ['--config', values.config, ...positionals];
  const { text } = await rectiflow(['estimate', ...common]);
  const rows = text.split('\n').map((row) => row.split(/ {2,}/));
  const from = rows.findIndex(([name]) => name === 'stage');
  const estimates = new Map(rows.slice(from + 1).flatMap(([name, time, range]) => (range ? [[name, { time, range }]] : [])));
  const begun = [];
  const { seconds } = await rectiflow(['chain', ...common, '--workdir', workdir], (line, at) => {
    const stage = /^stage \d+ of \d+: (.*?)(?: {2}.*)?$/.exec(line);
    if (stage) begun.push([stage[1], at]);
  });
  const show = (name, taken) => {
    const { time, range } = estimates.get(name);
    const ratio = secondsOf(time) / taken;
    console.log(`${name.padEnd(32)} estimated ${time.padEnd(8)} (${range.padEnd(16)}) took ${taken.toFixed(1)} s  ratio ${ratio.toFixed(2)}`);
  };
  begun.forEach(([name, at], i) => show(name, (begun[i + 1]?.[1] ?? seconds) - at));
  show('total', seconds - begun[0][1]);
} finally {
  if (busy) busy.kill();
  rmSync(workdir, { recursive: true });
}
