// Files of pictures of texts:
//   .png  one picture, or a grid of all
//   DIR/  a picture in each file, 00000.png and so on
//   .npz  "samples", u8 [N, H, W, C], as `sample` writes it
// Each PNG file says how its picture was made.
import { rm, writeFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { UsageError } from '../errors.ts';
import { asFileError } from '../io/file.ts';
import { encodePng, imageGrid, writeNpz, writePng } from '../io/index.ts';
import { isImageFolder, requireSamplesWritable } from '../run/sampling/output.ts';
import { type PictureRecord, pngTextsOf } from '../run/text/record.ts';
import type { Pictures } from '../run/text/text_to_image.ts';

type Writer = (pictures: Pick<Pictures, 'images' | 'shape'>, record: PictureRecord) => Promise<void>;

/** The writer for a path. @throws UsageError for other endings, and for columns of a file without a grid */
export function pictureWriter(path: string, columns?: number): Writer {
  const folder = isImageFolder(path);
  const ending = extname(path).toLowerCase();
  if (!folder && ending !== '.png' && ending !== '.npz')
    throw new UsageError(`--out expects a file name ending in .png or .npz, or a folder ending in /, got "${path}"`);
  if (columns !== undefined && (folder || ending !== '.png'))
    throw new UsageError(`--columns has an effect only on a grid, a .png; got "${path}"`);
  if (folder) return (pictures, record) => writeFolder(path, pictures, record);
  if (ending === '.npz')
    return ({ images, shape }) =>
      writeNpz(path, new Map([['samples', { shape: [...shape], dtype: 'u8', data: images }]]));
  return ({ images, shape }, record) => {
    const texts = pngTextsOf(record, shape[0] === 1 ? 0 : undefined);
    return writePng(path, imageGrid(images, shape, { columns }), { texts });
  };
}

/** Checks, before the work, that pictures can be written. @throws FileError as the writer would */
export const requirePicturesWritable = requireSamplesWritable;

async function writeFolder(
  folder: string,
  { images, shape }: Parameters<Writer>[0],
  record: PictureRecord,
): Promise<void> {
  const [count, height, width, channels] = shape;
  const size = height * width * channels;
  for (let i = 0; i < count; i++) {
    const path = join(folder, `${String(i).padStart(5, '0')}.png`);
    const data = images.slice(i * size, (i + 1) * size);
    const png = await encodePng({ width, height, channels, data }, { texts: pngTextsOf(record, i) });
    await writeFile(path, png).catch(async (error) => {
      // A part of a picture would pass for a whole one.
      await rm(path, { force: true }).catch(() => {});
      throw asFileError(path, error);
    });
  }
}
