// Files of measured rates: `rectiflow tune` writes them, and RECTIFLOW_TUNING names one to use.
import { createHash } from 'node:crypto';
import { checkArgument, checkOptions, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { fromEnvironment } from '../../device/environment.ts';
import { ArgumentError, FileError } from '../../errors.ts';
import { readWhole } from '../../io/file.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { parseJsonFile } from '../../io/json.ts';
import { instructionSet, tuningOf, useTuning } from '../../kernels/conv/algorithm.ts';
import { algorithms, convPasses, findTuningFault, requireTuning, type Tuning } from '../../kernels/tuning/table.ts';
import { runOptions } from '../arguments.ts';

/** Where a table was measured. */
export interface TuningOrigin {
  cpu: string;
  device: string;
  created: string;
}

/** Largest size of a file. A table of 64 x 64 rates per algorithm is smaller. */
const MAX_BYTES = 2 ** 24;

/** @throws FileError naming the first fault of the file */
export async function readTuning(path: string): Promise<Tuning> {
  checkArgument('readTuning', 'path', path, kinds.path);
  return requireTuning(path, parseJsonFile(await readWhole(path, MAX_BYTES), path));
}

const originKinds: OptionKinds<TuningOrigin> = { cpu: kinds.text, device: kinds.text, created: kinds.text };

/**
 * Makes convolutions use the table that RECTIFLOW_TUNING names.
 * @returns its path; undefined if the variable is not set
 */
export async function useNamedTuning(): Promise<string | undefined> {
  const path = fromEnvironment('RECTIFLOW_TUNING');
  if (path === undefined) return undefined;
  await useTuningFile(path).catch((cause) => {
    if (!(cause instanceof FileError)) throw cause;
    throw new FileError(path, `the file of RECTIFLOW_TUNING: ${cause.problem}`, { cause });
  });
  return path;
}

/**
 * Chooses convolution algorithms by a table that `rectiflow tune` wrote, from now on.
 * @throws FileError naming what is wrong with it
 * @example
 * // `rectiflow tune --out tuning.json` wrote it on this machine.
 * await useTuningFile('tuning.json'); // undefined
 */
export async function useTuningFile(path: string): Promise<void> {
  checkArgument('useTuningFile', 'path', path, kinds.path);
  useTuning(await readTuning(path));
}

/** Writes a table as JSON. */
export async function writeTuning(path: string, tuning: Tuning, origin: TuningOrigin): Promise<void> {
  checkArgument('writeTuning', 'path', path, kinds.path);
  const fault = findTuningFault(tuning);
  if (fault !== undefined) throw new ArgumentError('writeTuning', 'a table of tune()', fault);
  const checked = checkOptions('writeTuning', origin, originKinds, ['cpu', 'device', 'created']);
  await writeFileAtomic(path, [Buffer.from(formatTuning(tuning, checked))]);
}

/** Formats a table with one line per number of tiles and of input channels. */
function formatTuning({ tiles, channels, rates: table }: Tuning, origin: TuningOrigin): string {
  const block = (rows: readonly (readonly (readonly number[])[])[]) =>
    `[\n${rows.map((row) => `   ${JSON.stringify(row)}`).join(',\n')}\n  ]`;
  const part = (pass: keyof typeof table) =>
    ` ${JSON.stringify(pass)}: {\n${algorithms.map((algorithm) => `  ${JSON.stringify(algorithm)}: ${block(table[pass][algorithm])}`).join(',\n')}\n }`;
  return (
    `{\n"origin": ${JSON.stringify(origin)},\n"tiles": ${JSON.stringify(tiles)},\n"channels": ${JSON.stringify(channels)},\n` +
    `"rates": {\n${convPasses.map(part).join(',\n')}\n}\n}\n`
  );
}

/**
 * What the bits of convolutions depend on besides the program, in the form that checkpoints store: instruction set and
 * hash of the tuning table, or "exact". undefined on CUDA.
 */
export function tuningIdentity(device: Device): string | undefined {
  checkArgument('tuningIdentity', 'device', device, runOptions.device);
  if (device.kind === 'cuda') return undefined;
  if (device.exact) return 'exact';
  const { tiles, channels, rates: table } = tuningOf(device);
  const hash = createHash('sha256')
    .update(JSON.stringify([tiles, channels, table]))
    .digest('hex');
  return `${instructionSet(device)} ${hash.slice(0, 12)}`;
}
