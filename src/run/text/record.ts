// What a picture was made of, so that it can be made again: written into PNG files, and given out by the server.
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { Precision } from '../../device/device.ts';
import type { SolverName } from '../../flow/sample.ts';
import { asFileError } from '../../io/file.ts';
import { packageVersion } from '../machine/provenance.ts';
import type { Prediction } from './text_to_image.ts';

/** A file that pictures depend on: its name without its folder, and a fingerprint of its contents. */
export interface RecordedFile {
  name: string;
  fingerprint: string;
}

/** All that pictures depend on. Other processors and devices round differently. */
export interface PictureRecord {
  /** The folder or file, and a fingerprint of its weights. */
  model: RecordedFile;
  prediction: Prediction;
  /** Present where weights were rounded to 16 bits. */
  weights?: 'f16' | 'bf16';
  lora?: (RecordedFile & { factor: number })[];
  prompts: readonly string[];
  /** Present with a guidance above 1. */
  negative?: string;
  guidance: number;
  sampler: SolverName;
  /** Absent with the sampler rk45. */
  steps?: number;
  /** The tolerance of the sampler rk45. */
  tolerance?: number;
  /** Seed and kind of the noise, or its file. */
  seed?: number;
  noise?: 'torch' | 'own';
  latents?: RecordedFile;
  /** Pictures of each prompt. The torch noise of a picture depends on the number of all pictures. */
  count: number;
  /** Height and width in pixels. */
  size: readonly [height: number, width: number];
  /** Edge of a tile of the decoder, in pixels. */
  tile?: number;
  device: string;
  precision: Precision;
}

/** Bytes at the start, in the middle and at the end of a file that enter its fingerprint. */
const PIECE = 2 ** 20;

/**
 * A fingerprint of files: SHA-256 of their sizes and of a mebibyte at the start, in the middle and at the end of each. Weights of
 * several gigabytes differ there if they differ at all, unless somebody means to deceive.
 * @returns 16 hexadecimal digits
 * @throws FileError
 */
export async function fingerprintOf(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of files) {
    const handle = await open(path).catch((error) => {
      throw asFileError(path, error);
    });
    try {
      const { size } = await handle.stat();
      hash.update(`${size};`);
      const piece = Buffer.alloc(Math.min(PIECE, size));
      for (const at of new Set([0, Math.floor((size - piece.length) / 2), size - piece.length])) {
        const { bytesRead } = await handle.read(piece, 0, piece.length, at);
        hash.update(piece.subarray(0, bytesRead));
      }
    } catch (error) {
      throw asFileError(path, error);
    } finally {
      await handle.close();
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** The record of a folder or file of weights, or of one that a request names. */
export async function recordFile(path: string, files: readonly string[] = [path]): Promise<RecordedFile> {
  return { name: basename(resolve(path)), fingerprint: await fingerprintOf(files) };
}

/**
 * The texts of a PNG file: "Description", which viewers show, and "rectiflow", the record as JSON.
 * @param picture number of the picture among all of the record; absent for a grid
 */
export function pngTextsOf(record: PictureRecord, picture?: number): Record<string, string> {
  const { prompts, count } = record;
  const shown = picture === undefined ? prompts : [prompts[Math.floor(picture / count)]];
  const version = packageVersion();
  return {
    Software: `rectiflow ${version}`,
    Description: shown.join('\n'),
    rectiflow: JSON.stringify({ version, ...record, ...(picture !== undefined && { picture }) }),
  };
}
