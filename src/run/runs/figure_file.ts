// The files of figures: SVG and PDF as vector graphics with text, PNG through the package sharp.
import { extname } from 'node:path';
import { FileError, UsageError } from '../../errors.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { type Drawing, pdfFile, svgFile } from '../plot/index.ts';

/** Dots per inch of a PNG: what journals ask of images with text. */
export const PNG_DPI = 600;

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
  const sharp = await import('sharp').catch((cause: unknown) => {
    throw new FileError(path, 'PNG figures need the package sharp (npm install sharp); .svg and .pdf do not', {
      cause,
    });
  });
  return sharp
    .default(Buffer.from(svgFile(drawing, 'pt')), { density: PNG_DPI })
    .png()
    .toBuffer();
}
