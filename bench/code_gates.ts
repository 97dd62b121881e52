// What the machine code of hot kernels must keep to, checked on their facts (code_facts.ts): norms whose loops move 16 bytes, do not
// divide and execute few instructions, no local memory, and consumers of convolutions within their registers.
import type { CodeFacts, LoopFacts } from './code_facts.ts';
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

/** What is wrong with a kernel's machine code, in words; empty if nothing is. */
export function faultsOf(name: string, facts: CodeFacts): string[] {
  const faults: string[] = [];
  if (facts.local > 0) faults.push(`${facts.local} accesses to local memory`);
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
  return faults;
}

/** Loads of the epilogue of a convolution that are waited for one by one. */
export function serialLoads({ loops }: CodeFacts): number {
  const [tile] = loops.filter(({ products, stores }) => products > 0 && Object.keys(stores).length > 0);
  return Object.values(tile?.waits ?? {}).reduce((sum, count) => sum + count, 0);
}
