// One 8-bit image in memory: rows from the top, pixels from the left, channels together.
import { ValueError } from '../errors.ts';

/** `data` holds height * width * channels bytes, [H, W, C]; channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. */
export interface Image {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

/** @throws ValueError unless the sizes are whole numbers >= 1 and the data are as many */
export function checkImage({ width, height, channels, data }: Image): void {
  const sizes = [height, width, channels];
  if (!sizes.every((size) => Number.isInteger(size) && size >= 1) || channels > 4)
    throw new ValueError(`an image of ${sizes.join(' x ')} (height x width x channels) cannot be`);
  if (data.length !== width * height * channels)
    throw new ValueError(
      `an image of ${sizes.join(' x ')} needs ${width * height * channels} bytes, got ${data.length}`,
    );
}
