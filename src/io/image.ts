// One 8-bit image in memory: rows from the top, pixels from the left, channels interleaved.
import { checkArgument, checkArguments, kind, kinds, oneOf } from '../arguments.ts';
import { ValueError } from '../errors.ts';

/** `data` holds height * width * channels bytes, [H, W, C]; channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. */
export interface Image {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

const imageKind = kind('{ width, height, channels, data }', kinds.object.accepts);

/**
 * @returns a copy of the record; each property is read once
 * @throws ArgumentError unless the sizes are whole numbers >= 1, ValueError unless the data have that size
 */
export function checkImage(op: string, image: Image): Image {
  checkArgument(op, 'image', image, imageKind);
  const { width, height, channels, data } = image;
  checkArguments(op, {
    width: [width, kinds.count],
    height: [height, kinds.count],
    channels: [channels, oneOf([1, 2, 3, 4])],
    data: [data, kinds.bytes],
  });
  if (data.length !== width * height * channels)
    throw new ValueError(
      `[${op}] an image of ${height} x ${width} x ${channels} needs ${width * height * channels} bytes, got ${data.length}`,
    );
  return { width, height, channels, data };
}
