// Selects the numbered snapshots to evaluate.
import { basename } from 'node:path';
import type { Config } from '../config/schema.ts';
import type { Snapshot } from './evaluator.ts';

type Numbered = { number: number; path: string };

/** The snapshots from eval.begin_ckpt to eval.end_ckpt, the others, and the range in words. */
export function rangeOf(
  all: readonly Numbered[],
  { eval: { begin_ckpt: begin, end_ckpt: end } }: Config,
): { chosen: Numbered[]; outside: Numbered[]; range: string } {
  const inside = ({ number }: Numbered) => number >= begin && number <= end;
  return {
    chosen: all.filter(inside),
    outside: all.filter((one) => !inside(one)),
    range: `eval.begin_ckpt ${begin} to eval.end_ckpt ${end}`,
  };
}

export function snapshotAt(path: string): Snapshot {
  return { name: basename(path).replace(/\.(safetensors|pth)$/, ''), path };
}
