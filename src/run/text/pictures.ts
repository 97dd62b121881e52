// Bytes of pictures.
const { fround } = Math;

/** Pixels in [-1, 1] as bytes: clamp(x / 2 + 0.5, 0, 1) times 255 in float32, rounded to the nearest, halves to even. */
export function toBytes(pixels: Float32Array): Uint8Array {
  const bytes = new Uint8Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    const unit = Math.min(1, Math.max(0, fround(fround(pixels[i] / 2) + 0.5)));
    const value = fround(unit * 255);
    const low = Math.floor(value);
    const rest = value - low;
    bytes[i] = rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
  }
  return bytes;
}
