// Types of what the build makes, and of libraries without types.
/** The text of the worker, which vite.config.ts builds. */
declare module 'virtual:worker' {
  const text: string;
  export default text;
}
/** What is used of gifenc, which has no types. */
declare module 'gifenc' {
  type Palette = number[][];
  export function quantize(pixels: Uint8ClampedArray, colours: number): Palette;
  export function applyPalette(pixels: Uint8ClampedArray, palette: Palette): Uint8Array;
  export function GIFEncoder(): {
    writeFrame(index: Uint8Array, width: number, height: number, options: { palette: Palette; delay: number }): void;
    finish(): void;
    bytes(): Uint8Array<ArrayBuffer>;
  };
}
