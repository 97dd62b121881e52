// Axes: where a value lies, and which values have a label.

export interface Axis {
  log: boolean;
  low: number;
  high: number;
}

/** Bounds of plotted values: differences of larger ones could overflow, and smaller ones have no exact powers of ten. */
const LARGEST = 1e300;
const SMALLEST = 1e-300;

/** Whether a value can be drawn on an axis. */
export function isDrawable(value: number, log: boolean): boolean {
  return Math.abs(value) < LARGEST && (!log || value > SMALLEST);
}

/** An axis over values that can all be drawn, with `margin`, a share of its length, at both ends. */
export function axisOver(values: readonly number[], log: boolean, margin = 0): Axis {
  const onAxis = log ? Math.log10 : (value: number) => value;
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, onAxis(value));
    high = Math.max(high, onAxis(value));
  }
  // Equal values would give an axis without length.
  const room = high > low ? margin * (high - low) : log ? 0.3 : Math.abs(high) / 2 || 0.5;
  return { log, low: low - room, high: high + room };
}

/** Where a value lies on an axis: 0 at its low end, 1 at its high end. */
export function positionOf(value: number, { log, low, high }: Axis): number {
  return ((log ? Math.log10(value) : value) - low) / (high - low);
}

/** Round values between the ends of an axis, the most useful first; a plot draws as many as have room. */
export function tickValues(axis: Axis, count = 5): number[] {
  const { log, low, high } = axis;
  if (!log) return roundSteps(low, high, count);
  const decades = Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, i) => Math.ceil(low) + i);
  const every = Math.max(1, Math.ceil(decades.length / (count + 1)));
  const powers = decades.filter((power) => power % every === 0).map((power) => 10 ** power);
  if (high - low > count) return powers;
  const between = [5, 2].flatMap((digit) =>
    Array.from({ length: Math.ceil(high) - Math.floor(low) }, (_, i) => digit * 10 ** (Math.floor(low) + i)),
  );
  const inside = between.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
  const ticks = [...powers, ...inside];
  return ticks.length >= 3 ? ticks : [...new Set([...ticks, ...roundSteps(10 ** low, 10 ** high, count)])];
}

/** About `count` multiples of 1, 2 or 5 times a power of ten between two values. */
function roundSteps(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((m) => m * power >= rough) ?? 10);
  // The ends count as inside despite rounding errors.
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) =>
    // Without the rounding errors of the product.
    Number(((first + i) * step).toPrecision(12)),
  );
}

/** A value of a tick: "0.05", "2,000", "1e-7". */
export function tickLabel(value: number): string {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e7)) return value.toExponential().replace('e+', 'e');
  return value.toLocaleString('en', { maximumSignificantDigits: 12 });
}
