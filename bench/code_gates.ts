// What the machine code of hot kernels must keep to, checked on their facts (code_facts.ts): norms whose loops move 16 bytes, do not
// divide and execute few instructions, products that load and store wide and many at a time when they write their sums, no
// local memory, and consumers of convolutions within their registers.
import type { CodeFacts, LoopFacts, PartFacts, Widths } from './code_facts.ts';
import { perElement } from './gpu/norm_work.ts';

/** The loops over pixels of a norm: those that move data in bulk. */
const bulk = ({ loads, instructions }: LoopFacts) => instructions >= 90 || loads[2] !== undefined;

/** The most instructions per element: of all passes over the pixels, in backward with two gradients joined. */
const limits: Record<string, number> = {
  group_norm_slices_forward_plain: 18,
  group_norm_slices_forward_masked: 26,
  group_norm_slices_backward_plain: 36,
  group_norm_slices_backward_masked: 45,
};

const totalOf = (widths: Widths) => Object.values(widths).reduce((sum, count) => sum + count, 0);

/** What is wrong with a kernel's machine code, in words; empty if nothing is. */
export function faultsOf(name: string, facts: CodeFacts): string[] {
  const faults: string[] = [];
  // Sines of angles beyond 2^17, which do not occur, take local memory.
  if (facts.local > 0 && name !== 'flow_inputs_sinusoids') faults.push(`${facts.local} accesses to local memory`);
  for (const { limit, used } of facts.limits)
    if (used > limit) faults.push(`${used} registers where ${limit} are left`);
  if (name.startsWith('group_norm')) {
    const loops = facts.loops.filter(bulk);
    if (loops.some(({ loads, stores }) => [loads, stores].some((widths) => widths[2] || widths[1])))
      faults.push('loads or stores of 2 bytes');
    if (loops.some(({ divisions }) => divisions > 0)) faults.push('divisions in loops over pixels');
    if (loops.some(({ loads, waits }) => (waits[16] ?? 0) > Math.max(1, (loads[16] ?? 0) / 2) && (loads[16] ?? 0) > 3))
      faults.push('loads one after the other');
    const most = limits[name];
    const each = most === undefined ? 0 : perElement(name, facts, 2);
    if (each > most) faults.push(`${each.toFixed(1)} instructions per element instead of ${most}`);
  }
  // The results of conv_few have three channels.
  const epilogue = name.startsWith('conv_few') ? undefined : epilogueOf(facts);
  if (epilogue) faults.push(...epilogueFaults(epilogue));
  // The outer loops of a convolution on warpgroups go over tiles.
  if (name.startsWith('conv_hopper') && facts.loops.some(({ parent, divisions }) => parent >= 0 && divisions > 0))
    faults.push('divisions in inner loops');
  return faults;
}

/** The part of a product in which it writes its sums: the loop over tiles, or what follows the loop over terms. */
function epilogueOf({ loops, ...kernel }: CodeFacts): PartFacts | undefined {
  const writes = ({ stores }: PartFacts) => totalOf(stores) > 0;
  const tiles = loops.find((loop) => loop.products > 0 && writes(loop));
  return tiles ?? (loops.some(({ products }) => products > 0) && writes(kernel) ? kernel : undefined);
}

/** How often the longest path waits for what it loads or copies. */
export const waitsOf = ({ waits, copyWaits = 0 }: PartFacts) => totalOf(waits) + copyWaits;

function epilogueFaults(epilogue: PartFacts): string[] {
  const { loads, copies = 0, stores } = epilogue;
  const faults: string[] = [];
  if (loads[2] || loads[1] || Object.keys(stores).some((bytes) => Number(bytes) < 8))
    faults.push('narrow loads or stores where sums are written');
  if (waitsOf(epilogue) > Math.max(2, (totalOf(loads) + copies) / 4))
    faults.push('loads one after the other where sums are written');
  return faults;
}
