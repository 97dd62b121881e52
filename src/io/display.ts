// Pictures in notebooks: Jupyter kernels for JavaScript show a value by its method Symbol.for('Jupyter.display').
import { encodePng, type Image } from './png.ts';

/** A value that a notebook shows as a picture, by its method Symbol.for('Jupyter.display'). */
export interface DisplayedImage {
  /** The picture by media type: `image/png` in base64, and a text for front ends without pictures. */
  [display: symbol]: () => Promise<Record<'image/png' | 'text/plain', string>>;
}

/**
 * Shows a picture in a notebook when it is the value of a cell's last line. Deno's Jupyter kernel understands it.
 * @param image rows from the top, [H, W, C] bytes, such as the value of `imageGrid`
 * @throws ValueError if size and data do not match
 * @example
 * const picture = displayImage({ width: 2, height: 1, channels: 1, data: Uint8Array.of(0, 255) });
 * (await picture[Symbol.for('Jupyter.display')]())['text/plain']; // '2 x 1 pixels'
 */
export function displayImage(image: Image): DisplayedImage {
  const encoded = encodePng(image);
  // A failure is reported where the picture is asked for.
  encoded.catch(() => {});
  return {
    async [Symbol.for('Jupyter.display')]() {
      const png = Buffer.from(await encoded).toString('base64');
      return { 'image/png': png, 'text/plain': `${image.width} x ${image.height} pixels` };
    },
  };
}
