// npm run bench:pytorch [-- --help]
// Compares our CPU engine with PyTorch's: whole steps, single layers, scaling, and profiles. Two processes work in turns.
// docs/results.md describes the method; bench/results/pytorch-cpu.json has the results.
import { HELP, parseFlags } from './pytorch_cpu/flags.ts';
import { report, writeResults } from './pytorch_cpu/report.ts';
import { runBench } from './pytorch_cpu/run.ts';

/** @returns the exit code: 1 after an error, 2 for wrong usage */
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

// Open devices keep threads alive.
process.exit(await main(process.argv.slice(2)));
