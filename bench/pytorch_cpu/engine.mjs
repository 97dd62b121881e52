// Our side of bench/pytorch_cpu.ts: answers each line of JSON on standard input with one on standard output. It imports the
// built package as plain JavaScript, because a loader that transforms modules would slow calls between them.
// A request has the key `do`, the name of a command, and the command's arguments. bench/pytorch/cpu.py uses the same protocol.
import { parseArgs } from 'node:util';
import { findCompiler } from '../../dist/device/cc.js';
import { openDevice } from '../../dist/index.js';
import { evaluate } from './engine/evaluate.mjs';
import { profileLaunches } from './engine/profile.mjs';
import { answerLines } from './engine/requests.mjs';
import { evaluateText, text } from './engine/text.mjs';
import { layer, optimizer, sampling, training } from './engine/workloads.mjs';

const { values: flags } = parseArgs({ options: { threads: { type: 'string' } } });
const kinds = { train: training, sample: sampling, layer, optimizer, text };

/** The first call records a step; the second is the first that replays it. */
const CALLS_UNTIL_REPLAYED = 2;

/** By name: the device, a function that creates the workload, and the workload's `time` and `dispose`. */
const workloads = new Map();

const deviceOf = (threads = Number(flags.threads)) => openDevice('cpu', threads ? { threads } : {});

async function run({ time }, calls) {
  const seconds = [];
  for (let i = 0; i < calls; i++) seconds.push(await time());
  return seconds;
}

await answerLines({
  async about() {
    const device = await deviceOf();
    return { node: process.version, compiler: findCompiler().version, threads: device.workers };
  },
  async open({ name, kind, threads, ...options }) {
    const device = await deviceOf(threads);
    const make = () => kinds[kind](device, options);
    workloads.set(name, { device, make, ...(await make()) });
    return {};
  },
  run: async ({ name, calls }) => ({ seconds: await run(workloads.get(name), calls) }),
  /** The time and launches of each kernel in `calls` runs, by name and shape. */
  async profile({ name, calls }) {
    const { device, make, dispose } = workloads.get(name);
    dispose();
    const prepare = async () => {
      const workload = await make();
      workloads.set(name, { device, make, ...workload });
      await run(workload, CALLS_UNTIL_REPLAYED);
      return workload;
    };
    return profileLaunches(device, prepare, (workload) => run(workload, calls));
  },
  close({ name }) {
    workloads.get(name).dispose();
    workloads.delete(name);
    return {};
  },
  evaluate: async (request) => evaluate(await deviceOf(), request),
  evaluate_text: async (request) => evaluateText(await deviceOf(), request),
});
