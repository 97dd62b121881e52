// Images in a terminal: half blocks, two rows of pixels to a line. Terminals without colours get shades of grey.
import { columnsOf, drawsUnicode } from './terminal.ts';

/** Widest image in pixels; larger ones are averaged down to it. */
const MOST_PIXELS = 16;
const SHADES = ' ░▒▓█';
const ASCII_SHADES = ' .:*#';
/** The upper half of a character, in front of its lower half. */
const HALF = '▀';

type Rgb = readonly [number, number, number];

/**
 * The lines of a row of images, as many as fit into the width of the terminal.
 * @param images u8 of `shape` [N, H, W, C]; 1 or 2 channels are grey
 */
export function blockPicture(
  images: Uint8Array,
  [count, height, width, channels]: readonly number[],
  stream: NodeJS.WriteStream & { fd: 1 | 2 },
): string[] {
  const factor = Math.ceil(width / MOST_PIXELS);
  const [rows, columns] = [Math.floor(height / factor), Math.floor(width / factor)];
  const shown = Math.max(1, Math.min(count, Math.floor(columnsOf(stream) / (columns + 1))));
  const pixel = (image: number, y: number, x: number): Rgb => {
    const colour = (channel: number) => {
      let sum = 0;
      for (let dy = 0; dy < factor; dy++)
        for (let dx = 0; dx < factor; dx++) {
          const at = ((image * height + y * factor + dy) * width + x * factor + dx) * channels;
          sum += images[at + (channels < 3 ? 0 : channel)];
        }
      return Math.round(sum / factor ** 2);
    };
    return [colour(0), colour(1), colour(2)];
  };
  const paint = painter(stream);
  const lines: string[] = [];
  for (let y = 0; y < rows; y += 2) {
    const parts = Array.from({ length: shown }, (_, image) =>
      paint(
        Array.from({ length: columns }, (_, x) => [pixel(image, y, x), y + 1 < rows ? pixel(image, y + 1, x) : BLACK]),
      ),
    );
    lines.push(parts.join(' '));
  }
  return lines;
}

const BLACK: Rgb = [0, 0, 0];

/** Draws pairs of an upper and a lower pixel, each as one character. */
type Painter = (pairs: readonly (readonly [upper: Rgb, lower: Rgb])[]) => string;

function painter(stream: NodeJS.WriteStream): Painter {
  const depth = stream.getColorDepth?.() ?? 1;
  if (!drawsUnicode() || depth < 8) {
    const shades = drawsUnicode() ? SHADES : ASCII_SHADES;
    const shade = (colours: Rgb[]) => shades[Math.floor((mean(colours.flat()) / 256) * shades.length)];
    return (pairs) => pairs.map(([upper, lower]) => shade([upper, lower])).join('');
  }
  const code = depth >= 24 ? ([r, g, b]: Rgb) => `2;${r};${g};${b}` : (colour: Rgb) => `5;${paletteIndex(colour)}`;
  return (pairs) => {
    let line = '';
    let last = '';
    for (const [upper, lower] of pairs) {
      const style = `\x1b[38;${code(upper)};48;${code(lower)}m`;
      line += style === last ? HALF : style + HALF;
      last = style;
    }
    return `${line}\x1b[0m`;
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The nearest entry of the 256 colours of a terminal: greys from 232, a cube of 6 x 6 x 6 from 16. */
function paletteIndex([r, g, b]: Rgb): number {
  if (r === g && g === b) return r < 4 ? 16 : r > 246 ? 231 : 232 + Math.min(23, Math.round((r - 8) / 10));
  const level = (value: number) => Math.round((value / 255) * 5);
  return 16 + 36 * level(r) + 6 * level(g) + level(b);
}
