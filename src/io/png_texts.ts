// Texts in PNG files: chunks iTXt, in UTF-8, right behind the header of the picture.
//
// keyword 0 compressed(0) method(0) language 0 translated keyword 0 text
//
// Source: W3C Portable Network Graphics, second edition, 11.3.4.5.
import { crc32 } from 'node:zlib';
import { kind, kinds } from '../arguments.ts';

/** Bytes of the signature and of the chunk IHDR. */
const HEAD = 8 + 25;

const keyword = /^[!-~](?:[ -~]{0,77}[!-~])?$/;

/** Texts by keyword. */
export const pngTextsKind = kind('texts by keyword of 1 to 79 ASCII characters', (value) => {
  if (!kinds.object.accepts(value)) return false;
  return Object.entries(value as object).every(([key, text]) => keyword.test(key) && typeof text === 'string');
});

/** A PNG file with these texts. */
export function withTexts(png: Uint8Array, texts: Readonly<Record<string, string>>): Uint8Array {
  const chunks = Object.entries(texts).map(([key, text]) => chunkOf(key, text.replaceAll('\0', '')));
  if (chunks.length === 0) return png;
  return new Uint8Array(Buffer.concat([png.subarray(0, HEAD), ...chunks, png.subarray(HEAD)]));
}

function chunkOf(key: string, text: string): Uint8Array {
  const body = Buffer.from(`iTXt${key}\0\0\0\0\0${text}`, 'utf8');
  const chunk = Buffer.alloc(body.length + 8);
  chunk.writeUInt32BE(body.length - 4);
  body.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(body), body.length + 4);
  return chunk;
}

/** The texts that `withTexts` has written into a PNG file; others, and damaged ones, are left out. */
export function textsOf(png: Uint8Array): Record<string, string> {
  const file = Buffer.from(png.buffer, png.byteOffset, png.byteLength);
  const texts: Record<string, string> = {};
  for (let at = 8; at + 12 <= file.length; at += 12 + file.readUInt32BE(at)) {
    const end = at + 8 + file.readUInt32BE(at);
    if (file.toString('latin1', at + 4, at + 8) !== 'iTXt' || end + 4 > file.length) continue;
    const body = file.subarray(at + 4, end);
    const [, key, text] = /^iTXt([^\0]+)\0{5}(.*)$/s.exec(body.toString('utf8')) ?? [];
    if (key !== undefined && crc32(body) === file.readUInt32BE(end)) texts[key] = text;
  }
  return texts;
}
