// Numbers as the page prints them.

/** Three digits that matter. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  if (size >= 1) return value.toFixed(2);
  return size >= 0.0995 ? value.toFixed(3) : value.toFixed(4);
}
