// npm run bench:pytorch [-- --help]
// Our CPU engine against PyTorch's: whole steps, single layers, how time grows, where it goes. Two processes live at once and work
// in turns. docs/results.md says how it is measured, bench/results/pytorch-cpu.json holds what was.
import { HELP, parseFlags } from './pytorch_cpu/flags.ts';
import { report, writeResults } from './pytorch_cpu/report.ts';
import { runBench } from './pytorch_cpu/run.ts';

/** @returns the exit code: 1 for what went wrong, 2 for wrong usage */
async function main(args: string[]): Promise<number> {
  let flags: ReturnType<typeof parseFlags>;
  try {
    flags = parseFlags(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (flags === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  try {
    const results = await runBench(flags, (text) => console.error(text));
    console.log(report(results));
    if (flags.json) writeResults(flags.json, results, ['npm run bench:pytorch --', ...args].join(' '));
    return 0;
  } catch (error) {
    console.error(`bench:pytorch: ${(error as Error).message}`);
    return 1;
  }
}

// Devices that are open keep threads of their own.
process.exit(await main(process.argv.slice(2)));
