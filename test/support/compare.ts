// Comparison with the reference: |got - want| <= absolute + relative |want| + ofLargest max |want|.
// `ofLargest` is for sums of many terms, whose rounding error depends on the size of the terms and not of the result.

export interface Tolerance {
  absolute?: number;
  relative?: number;
  ofLargest?: number;
}

function bound(want: number, largest: number, { absolute = 0, relative = 0, ofLargest = 0 }: Tolerance): number {
  return absolute + relative * Math.abs(want) + ofLargest * largest;
}

/** Equal infinities and NaNs count as close; a result beyond f32 is compared as the infinity it rounds to. */
function close(got: number, want: number, largest: number, tolerance: Tolerance): boolean {
  if (Object.is(got, want) || got === want) return true;
  if (!Number.isFinite(Math.fround(want))) return Object.is(got, Math.fround(want));
  return Math.abs(got - want) <= bound(want, largest, tolerance);
}

/** Largest finite magnitude. */
export function largestOf(values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]);
    if (Number.isFinite(magnitude)) largest = Math.max(largest, magnitude);
  }
  return largest;
}

/**
 * Throws unless all pairs are close. The message names `what` (op, case, device, part), counts the mismatches, shows
 * the first five with their positions and gives the largest error of all.
 * `positions` names the elements when only some of a tensor are compared.
 */
export function expectClose(
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  tolerance: Tolerance,
  positions?: readonly number[],
): void {
  if (got.length !== want.length) throw new Error(`${what}: got ${got.length} values, expected ${want.length}`);
  const largest = largestOf(want);
  const wrong: number[] = [];
  let worst = 0;
  let worstAt = 0;
  for (let i = 0; i < want.length; i++) {
    if (!close(got[i], want[i], largest, tolerance)) wrong.push(i);
    const error = Math.abs(got[i] - want[i]);
    if (error > worst) [worst, worstAt] = [error, i];
  }
  if (wrong.length === 0) return;
  const place = (i: number) => positions?.[i] ?? i;
  const pairs = wrong.slice(0, 5).map((i) => {
    return `  [${place(i)}] got ${got[i]}, expected ${want[i]}, allowed ${bound(want[i], largest, tolerance)}`;
  });
  const summary = `${wrong.length} of ${want.length} values differ, largest error ${worst} at [${place(worstAt)}]`;
  throw new Error([`${what}: ${summary}`, ...pairs].join('\n'));
}
