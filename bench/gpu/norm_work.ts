// The work of a group norm for a card. Its instructions were added up by hand along the executed blocks of its machine code, because its
// kernels choose between their variants within their loops.
import { hopperModel, type LaunchWork } from './card_model.ts';
import type { NormSizes } from './launches.ts';
import { factsOf, type StaticFacts } from './machine_code.ts';
import type { PlannedNode } from './planning_device.ts';

/** Instructions per element. Where a kernel resamples, those of an output and of an input element differ. */
const forward = { statistics: 46, result: 135, dropout: 75, noSilu: -21 };
const backward = {
  sums: 57,
  result: 80,
  silu: 25,
  dropout: [71, 67],
  joined: 31,
  upstream: [12, 41, 22],
  again: [27, 39, 27],
};

export function normWork(node: PlannedNode, sizes: NormSizes, statics: StaticFacts): LaunchWork {
  const { arguments: values } = node;
  const { blocks, threads, resident } = factsOf(node, statics);
  const channels = sizes.firstChannels + sizes.secondChannels;
  const elements = sizes.batch * sizes.height * sizes.width * channels;
  const resample = sizes.resample as 0 | 1 | 2;
  const written = elements * { 0: 1, 1: 4, 2: 0.25 }[resample];
  const isForward = node.name === 'group_norm_forward';
  const masked = values[isForward ? 15 : 37] > 0;
  let instructions: number;
  let bytes = 2 * (elements + written);
  if (isForward) {
    const { statistics, result, dropout, noSilu } = forward;
    const each =
      resample === 2
        ? 46 + 4 * (51 + (masked ? dropout : 0))
        : result + (masked ? dropout : 0) + (sizes.activation ? 0 : noSilu);
    instructions = statistics * elements + written * each;
  } else {
    const joined = [9, 13, 17, 21].some((at) => values[at] || values[at + 1]);
    const { sums, result, silu, dropout, upstream, again } = backward;
    const each = sums + result + upstream[resample] + again[resample] + 2 * (sizes.activation ? silu : 0);
    instructions = elements * (each + (masked ? dropout[0] + dropout[1] : 0) + (joined ? backward.joined : 0));
    bytes += 2 * elements * (joined ? 2 : 1);
  }
  const { memory, l2 } = hopperModel.latency;
  const columns = Math.min(threads, (channels / sizes.groups) * values[isForward ? 7 : 30]);
  const trips = Math.ceil((sizes.height * sizes.width) / Math.floor(threads / columns));
  const waiting = trips * (isForward ? memory + 2 * l2 : 2 * memory + 2 * l2);
  return { blocks, threads, resident, instructions: instructions / 32, waiting, bytes };
}
