/** Errors in units of the last place (ulp), and the devices on which they are measured. */
import { deviceModes, lesserModes } from './devices.ts';

/** Every device in f32, and the device cpu with each lesser instruction set. */
export const exactModes = [
  ...deviceModes.filter(({ precision, exact, name }) => precision === 'fp32' && (exact || !name.startsWith('cpu'))),
  ...lesserModes,
  { name: 'wasm', precision: 'fp32' as const, exact: true, march: undefined, label: 'wasm' },
];

/** The distance from |x| to the next float. */
function unitOf(x: number): number {
  const exponent = Math.floor(Math.log2(Math.abs(Math.fround(x)) || 2 ** -149));
  return 2 ** (Math.max(exponent, -126) - 23);
}

/** The largest error, in units of the result's last place, and where it is. */
export function worst(x: Float32Array, got: ArrayLike<number>, of: (x: number) => number) {
  let found = { x: 0, got: 0, want: 0, units: 0 };
  for (const [i, value] of x.entries()) {
    const want = of(value);
    const units = Object.is(got[i], Math.fround(want)) ? 0 : Math.abs(got[i] - want) / unitOf(want);
    if (!(units <= found.units)) found = { x: value, got: got[i], want, units };
  }
  return found;
}

/** Floats of random bits, so that every exponent is equally likely. */
export function randomBits(count: number): Float32Array {
  let state = 12345;
  const bits = Uint32Array.from({ length: count }, () => {
    state = Math.imul(state, 1664525) + 1013904223;
    const high = state >>> 16;
    state = Math.imul(state, 1664525) + 1013904223;
    return ((high << 16) | (state >>> 16)) >>> 0;
  });
  return new Float32Array(bits.buffer);
}
