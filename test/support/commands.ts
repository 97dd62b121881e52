// All commands, for tests that run them in their own process.
import type { Command } from '../../src/cli/arguments.ts';
import { chainCommand } from '../../src/cli/chain.ts';
import { classifierCommand } from '../../src/cli/classifier.ts';
import { compareCommand } from '../../src/cli/compare.ts';
import { configCommand } from '../../src/cli/config.ts';
import { convertCommand } from '../../src/cli/convert.ts';
import { doctorCommand } from '../../src/cli/doctor.ts';
import { estimateCommand } from '../../src/cli/estimate.ts';
import { evalCommand } from '../../src/cli/eval.ts';
import { figureCommand } from '../../src/cli/figure.ts';
import { inspectCommand } from '../../src/cli/inspect.ts';
import { pairsCommand } from '../../src/cli/pairs.ts';
import { playgroundCommand } from '../../src/cli/playground.ts';
import { quickstartCommand } from '../../src/cli/quickstart.ts';
import { reflowCommand } from '../../src/cli/reflow.ts';
import { reportCommand } from '../../src/cli/report.ts';
import { runsCommand } from '../../src/cli/runs.ts';
import { sampleCommand } from '../../src/cli/sample.ts';
import { serveCommand } from '../../src/cli/serve.ts';
import { statsCommand } from '../../src/cli/stats.ts';
import { textCommand } from '../../src/cli/text.ts';
import { toyCommand } from '../../src/cli/toy.ts';
import { trainCommand } from '../../src/cli/train.ts';
import { transferCommand } from '../../src/cli/transfer.ts';
import { tuneCommand } from '../../src/cli/tune.ts';

/** In the order of the help. */
export const commands: readonly Command[] = [
  trainCommand,
  reflowCommand,
  evalCommand,
  sampleCommand,
  transferCommand,
  textCommand,
  serveCommand,
  playgroundCommand,
  chainCommand,
  estimateCommand,
  quickstartCommand,
  reportCommand,
  runsCommand,
  compareCommand,
  figureCommand,
  statsCommand,
  classifierCommand,
  pairsCommand,
  configCommand,
  convertCommand,
  inspectCommand,
  toyCommand,
  tuneCommand,
  doctorCommand,
];
