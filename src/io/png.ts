// PNG images, read and written by the package fast-png. A guard checks files before fast-png sees them.
//
// The guard walks the chunks, keeps only those that make up the picture, and inflates the pixels with a limit: they
// must be exactly the height * (1 + ceil(width * channels * depth / 8)) bytes that the header declares. The size of the
// decoded image is limited too (unpack.ts): a 1-bit palette image becomes 32 bits per pixel.
//
// Source: W3C Portable Network Graphics, second edition.
import { crc32, createInflate } from 'node:zlib';
import { checkArgument, checkArguments, checkOptions, kind, kinds, type OptionKinds, oneOf } from '../arguments.ts';
import { FileError, ValueError } from '../errors.ts';
import { checkUnpacked, SizeError, unpackOptions } from './archives/unpack.ts';
import { allowedBytes, unpackLimit } from './archives/unpack_limits.ts';
import { writeFileAtomic } from './atomic.ts';
import { readWhole } from './file.ts';
import { pngTextsKind, withTexts } from './png_texts.ts';

/**
 * An 8-bit image in memory: rows from the top, pixels from the left, channels together. `data` holds height * width * channels
 * bytes, [H, W, C]; channels: 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.
 */
export interface Image {
  width: number;
  height: number;
  channels: number;
  data: Uint8Array;
}

const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const PALETTE = 3;
const colourTypes: Record<number, { channels: number; depths: number[] } | undefined> = {
  0: { channels: 1, depths: [1, 2, 4, 8, 16] },
  2: { channels: 3, depths: [8, 16] },
  [PALETTE]: { channels: 1, depths: [1, 2, 4, 8] },
  4: { channels: 2, depths: [8, 16] },
  6: { channels: 4, depths: [8, 16] },
};
const MAX_IMAGE_BYTES = 2 ** 30;
const adam7 = [
  { x: 0, y: 0, dx: 8, dy: 8 },
  { x: 4, y: 0, dx: 8, dy: 8 },
  { x: 0, y: 4, dx: 4, dy: 8 },
  { x: 2, y: 0, dx: 4, dy: 4 },
  { x: 0, y: 2, dx: 2, dy: 4 },
  { x: 1, y: 0, dx: 2, dy: 2 },
  { x: 0, y: 1, dx: 1, dy: 2 },
];

export interface WritePngOptions {
  /** Texts that the file carries, by keyword of 1 to 79 ASCII characters, such as "Description"; viewers show them. Default: none. */
  texts?: Readonly<Record<string, string>>;
}

const writeOptions: OptionKinds<WritePngOptions> = { texts: pngTextsKind };

/**
 * Encodes an 8-bit image as a PNG file.
 * @throws ValueError if size and data do not match
 * @example
 * const png = await encodePng({ width: 1, height: 1, channels: 3, data: Uint8Array.of(255, 0, 0) });
 * Buffer.from(png.subarray(1, 4)).toString(); // 'PNG'
 */
export async function encodePng(image: Image, options: WritePngOptions = {}): Promise<Uint8Array> {
  return encode(checkImage('encodePng', image), checkOptions('encodePng', options, writeOptions));
}

async function encode(image: Image, { texts = {} }: WritePngOptions): Promise<Uint8Array> {
  const { encode } = await import('fast-png');
  return withTexts(encode({ ...image, depth: 8 }), texts);
}

export interface ReadPngOptions {
  /** Refuses images of more bytes than this. Default: 32 times the file, at least 64 MiB and at most 1 GiB. */
  maxBytes?: number;
}

const readOptions: OptionKinds<ReadPngOptions> = { maxBytes: kinds.number };

/**
 * Decodes a PNG file to 8-bit channels: palettes become RGB or RGBA; 1, 2, 4 and 16 bits per channel are rescaled.
 * The transparent colour of an image without an alpha channel is ignored.
 * @param name the file's name in errors
 * @throws FileError if damaged, truncated, too large, or interlaced with less than 8 bits per channel
 * @example
 * const png = await encodePng({ width: 2, height: 1, channels: 1, data: Uint8Array.of(0, 255) });
 * const { width, height, channels, data } = await decodePng(png);
 * ({ width, height, channels, data }); // { width: 2, height: 1, channels: 1, data: [0, 255] }
 */
export async function decodePng(bytes: Uint8Array, name = 'png', options: ReadPngOptions = {}): Promise<Image> {
  checkArguments('decodePng', { bytes: [bytes, kinds.bytes], name: [name, kinds.text] });
  return decodeChecked(bytes, name, checkOptions('decodePng', options, readOptions));
}

async function decodeChecked(bytes: Uint8Array, name: string, { maxBytes }: ReadPngOptions): Promise<Image> {
  const safe = await guard(bytes, name, maxBytes ?? Math.min(allowedBytes(bytes.length), MAX_IMAGE_BYTES));
  const { decode, convertIndexedToRgb } = await import('fast-png');
  try {
    const png = decode(safe);
    const { width, height, depth } = png;
    if (png.palette) {
      const data = convertIndexedToRgb(png);
      return { width, height, channels: data.length / (width * height), data };
    }
    const data = depth < 8 ? unpackGrey(png.data as Uint8Array, width, height, depth) : toEightBits(png.data, depth);
    return { width, height, channels: png.channels, data };
  } catch (error) {
    throw new FileError(name, `cannot be read as PNG: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * Reads one PNG file.
 * @throws FileError as decodePng
 * @example
 * await writePng('red.png', { width: 1, height: 1, channels: 3, data: Uint8Array.of(255, 0, 0) });
 * const { data } = await readPng('red.png');
 * data; // [255, 0, 0]
 */
export async function readPng(path: string, options: ReadPngOptions = {}): Promise<Image> {
  checkArgument('readPng', 'path', path, kinds.path);
  const checked = checkOptions('readPng', options, readOptions);
  return decodeChecked(await readWhole(path), path, checked);
}

/**
 * Writes one PNG file, atomically.
 * @throws FileError, ValueError
 * @example
 * const { images } = await loadDigits();
 * await writePng('digits.png', imageGrid(images.subarray(0, 16 * 64), [16, 8, 8, 1], { scale: 4 }));
 * (await readPng('digits.png')).width; // 138
 */
export async function writePng(path: string, image: Image, options: WritePngOptions = {}): Promise<void> {
  checkArgument('writePng', 'path', path, kinds.path);
  const checked = checkOptions('writePng', options, writeOptions);
  await writeFileAtomic(path, [await encode(checkImage('writePng', image), checked)]);
}

// Returns a PNG of the same picture that contains only checked chunks.
async function guard(bytes: Uint8Array, name: string, maxBytes: number): Promise<Uint8Array> {
  if (!signature.every((byte, i) => bytes[i] === byte)) throw new FileError(name, 'is not a PNG file');
  const kept: Uint8Array[] = [signature];
  const pixels: Uint8Array[] = [];
  let rawBytes = 0;
  let colourType = -1;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let hasPalette = false;
  let last = '';
  for (let at = 8; last !== 'IEND'; ) {
    const length = at + 12 <= bytes.length ? view.getUint32(at) : Number.POSITIVE_INFINITY;
    if (at + 12 + length > bytes.length) throw new FileError(name, 'is truncated');
    const type = new TextDecoder('latin1').decode(bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (crc32(bytes.subarray(at + 4, at + 8 + length)) !== view.getUint32(at + 8 + length))
      throw new FileError(name, `chunk ${type} fails its checksum; the file is damaged`);
    if ((last === '') !== (type === 'IHDR'))
      throw new FileError(name, 'must begin with the chunk IHDR, and contain it once');
    if (type === 'IHDR') ({ rawBytes, colourType } = checkHeader(body, name, maxBytes));
    if (type === 'IDAT') pixels.push(body);
    if (['IHDR', 'IDAT', 'IEND'].includes(type) || (['PLTE', 'tRNS'].includes(type) && colourType === PALETTE))
      kept.push(bytes.subarray(at, at + 12 + length));
    hasPalette ||= type === 'PLTE';
    last = type;
    at += 12 + length;
  }
  if (colourType === PALETTE && !hasPalette) throw new FileError(name, 'has no palette; the file is damaged');
  await checkPixels(pixels, rawBytes, name);
  return new Uint8Array(Buffer.concat(kept));
}

function checkHeader(header: Uint8Array, name: string, maxBytes: number): { rawBytes: number; colourType: number } {
  if (header.length !== 13) throw new FileError(name, 'its header has the wrong length; the file is damaged');
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colourType, , , interlaced] = header.subarray(8);
  const kind = colourTypes[colourType];
  if (!kind?.depths.includes(depth))
    throw new FileError(name, `has colour type ${colourType} with ${depth} bits, which PNG does not define`);
  const bits = depth * kind.channels;
  if (interlaced && depth < 8)
    throw new FileError(name, 'is interlaced with less than 8 bits per channel; save it without interlacing');
  const scan = (w: number, h: number) => (w > 0 && h > 0 ? h * (1 + Math.ceil((w * bits) / 8)) : 0);
  const rawBytes = interlaced
    ? adam7.reduce((sum, p) => sum + scan(Math.ceil((width - p.x) / p.dx), Math.ceil((height - p.y) / p.dy)), 0)
    : scan(width, height);
  if (rawBytes === 0) throw new FileError(name, 'its header describes no image; the file is damaged');
  const imageBytes = Math.max(rawBytes, width * height * (colourType === PALETTE ? 4 : kind.channels));
  if (imageBytes > maxBytes)
    throw new FileError(
      name,
      `is ${width} x ${height} pixels; at most 1 GiB, and ${unpackLimit}, can be read; pass maxBytes to allow more`,
    );
  return { rawBytes, colourType };
}

async function checkPixels(pixels: readonly Uint8Array[], rawBytes: number, name: string): Promise<void> {
  try {
    await checkUnpacked(Buffer.concat(pixels), createInflate(unpackOptions), rawBytes);
  } catch (error) {
    if (error instanceof SizeError && error.missing)
      throw new FileError(name, 'holds fewer pixels than its header says; the file is damaged');
    throw new FileError(name, `its pixels cannot be unpacked: ${(error as Error).message}`, { cause: error });
  }
}

// Each row of packed bits begins at a byte boundary. The largest value, 2^depth - 1, becomes 255.
function unpackGrey(data: Uint8Array, width: number, height: number, depth: number): Uint8Array {
  const rowBytes = Math.ceil((width * depth) / 8);
  const largest = 2 ** depth - 1;
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const bit = (i % width) * depth;
    const byte = data[Math.floor(i / width) * rowBytes + (bit >> 3)];
    return (((byte >> (8 - depth - (bit & 7))) & largest) * 255) / largest;
  });
}

function toEightBits(data: Uint8Array | Uint8ClampedArray | Uint16Array, depth: number): Uint8Array {
  return depth === 16 ? Uint8Array.from(data, (value) => Math.round(value / 257)) : new Uint8Array(data);
}

const imageKind = kind('{ width, height, channels, data }', kinds.object.accepts);

/**
 * @returns a copy of the record; each property is read once
 * @throws ArgumentError unless the sizes are whole numbers >= 1, ValueError unless the data have that size
 */
function checkImage(op: string, image: Image): Image {
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
