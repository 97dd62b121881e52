// The files of figures: SVG and PDF as vector graphics with text, PNG through the package sharp.
import { extname } from 'node:path';
import { ConfigError, FileError, UsageError } from '../../errors.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { type Drawing, pdfFile, svgFile } from '../plot/index.ts';

/** Dots per inch of a PNG: what journals ask of images with text. */
export const PNG_DPI = 600;
/** Most dots of a PNG, which is the limit of sharp. */
const MOST_DOTS = 0x3fff ** 2;

type Encoder = (drawing: Drawing, path: string) => Promise<Uint8Array>;

const encoders: Readonly<Record<string, Encoder>> = {
  '.svg': async (drawing) => Buffer.from(svgFile(drawing, 'pt')),
  '.pdf': (drawing) => pdfFile(drawing),
  '.png': pngOf,
};

/**
 * The writer of a path's format. Call it before drawing, so that a wrong name fails early.
 * @throws UsageError for other endings
 */
export function figureWriter(path: string): (drawing: Drawing) => Promise<void> {
  const encode = encoders[extname(path).toLowerCase()];
  if (!encode)
    throw new UsageError(`expected a file name ending in ${Object.keys(encoders).join(', ')}, got "${path}"`);
  return async (drawing) => writeFileAtomic(path, [await encode(drawing, path)]);
}

async function pngOf(drawing: Drawing, path: string): Promise<Uint8Array> {
  const [width, height] = [drawing.width, drawing.height].map((points) => Math.round((points / 72) * PNG_DPI));
  if (width * height > MOST_DOTS)
    throw new ConfigError(
      `a PNG of ${width} x ${height} dots is too large (${PNG_DPI} dots per inch); make it smaller, or write .svg or .pdf`,
    );
  const sharp = await import('sharp').catch((cause: unknown) => {
    throw new FileError(path, 'PNG figures need the package sharp (npm install sharp); .svg and .pdf do not', {
      cause,
    });
  });
  // At 72 dots per inch, a pixel of an SVG without units is a point.
  return sharp
    .default(Buffer.from(svgFile(drawing)), { density: PNG_DPI })
    .withMetadata({ density: PNG_DPI })
    .png()
    .toBuffer();
}
