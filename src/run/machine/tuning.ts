// Files of measured rates: `rectiflow tune` writes them, and RECTIFLOW_TUNING names one to use.
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { checkArgument, checkOptions, describeValue, kinds, type OptionKinds } from '../../arguments.ts';
import type { Device } from '../../device/device.ts';
import { fromEnvironment } from '../../device/environment.ts';
import { ArgumentError, FileError, formatShape } from '../../errors.ts';
import { readWhole } from '../../io/file.ts';
import { writeFileAtomic } from '../../io/index.ts';
import { parseJsonFile } from '../../io/json.ts';
import { algorithms, instructionSet, passes, type Tuning, tuningOf, useTuning } from '../../kernels/conv/algorithm.ts';
import { runOptions } from '../arguments.ts';

/** Where a table was measured. */
export interface TuningOrigin {
  cpu: string;
  device: string;
  created: string;
}

const grid = z
  .array(z.number().positive())
  .min(1)
  .max(64)
  .refine((values) => values.every((value, i) => i === 0 || value > values[i - 1]), 'expected ascending numbers');
const ofEach = <Name extends string, Value extends z.ZodType>(names: readonly Name[], value: Value) =>
  z.strictObject(Object.fromEntries(names.map((name) => [name, value])) as Record<Name, Value>);
// faultOf checks the rates themselves, because zod would report an issue for each wrong number and a file may hold
// millions.
const schema = z.object({ tiles: grid, channels: grid, rates: ofEach(passes, ofEach(algorithms, z.unknown())) });

/** Largest size of a file. A table of 64 x 64 rates per algorithm is smaller. */
const MAX_BYTES = 2 ** 24;

/** @throws FileError naming the first fault of the file */
export async function readTuning(path: string): Promise<Tuning> {
  checkArgument('readTuning', 'path', path, kinds.path);
  const value = parseJsonFile(await readWhole(path, MAX_BYTES), path);
  const fault = faultOf(value);
  if (fault !== undefined) throw new FileError(path, `not a table of \`rectiflow tune\`: ${fault}`);
  const { tiles, channels, rates: table } = value as Tuning;
  return { tiles, channels, rates: table };
}

/** The first fault of a table; undefined if it is valid. */
function faultOf(value: unknown): string | undefined {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const [{ path: at, message }] = parsed.error.issues;
    return `${at.join('.') || 'the file'}: ${message}`;
  }
  const { tiles, channels, rates: all } = parsed.data;
  const shape = [tiles.length, channels.length, channels.length];
  for (const pass of passes)
    for (const algorithm of algorithms) {
      const at = `rates.${pass}.${algorithm}`;
      if (!hasShape(all[pass][algorithm], shape)) return `${at} does not have shape ${formatShape(shape)}`;
      const rates = all[pass][algorithm].flatMap((rows) => rows.flatMap((row) => Array.from(row)));
      const wrong = rates.findIndex((rate) => !Number.isFinite(rate) || (rate as number) < 0);
      if (wrong >= 0) return `${at} holds ${describeValue(rates[wrong])}, which is not a rate`;
    }
  return undefined;
}

type Rates = readonly (readonly (readonly unknown[])[])[];

/** Whether a nested array has the given shape. */
function hasShape(value: unknown, [length, ...inner]: readonly number[]): value is Rates {
  if (length === undefined) return !Array.isArray(value);
  return Array.isArray(value) && value.length === length && Array.from(value).every((item) => hasShape(item, inner));
}

const originKinds: OptionKinds<TuningOrigin> = { cpu: kinds.text, device: kinds.text, created: kinds.text };

/**
 * Makes convolutions use the table that RECTIFLOW_TUNING names.
 * @returns its path; undefined if the variable is not set
 */
export async function useNamedTuning(): Promise<string | undefined> {
  const path = fromEnvironment('RECTIFLOW_TUNING');
  if (path === undefined) return undefined;
  const tuning = await readTuning(path).catch((cause) => {
    if (!(cause instanceof FileError)) throw cause;
    throw new FileError(path, `the file of RECTIFLOW_TUNING: ${cause.problem}`, { cause });
  });
  useTuning(tuning);
  return path;
}

/** Writes JSON, or a module like those in kernels/tuning if the path ends in .ts. */
export async function writeTuning(path: string, tuning: Tuning, origin: TuningOrigin): Promise<void> {
  checkArgument('writeTuning', 'path', path, kinds.path);
  const fault = faultOf(tuning);
  if (fault !== undefined) throw new ArgumentError('writeTuning', 'a table of tune()', fault);
  const json = formatTuning(tuning, checkOptions('writeTuning', origin, originKinds, ['cpu', 'device', 'created']));
  const name = path.replace(/^.*[/\\]|\.ts$/g, '');
  const text = path.endsWith('.ts')
    ? `// Measured by \`rectiflow tune\`.\nimport type { Tuning } from '../conv/algorithm.ts';\n\nexport const ${name}: Tuning & { origin: object } = ${json};\n`
    : `${json}\n`;
  await writeFileAtomic(path, [Buffer.from(text)]);
}

/** Formats a table with one line per number of tiles and of input channels. */
function formatTuning({ tiles, channels, rates: table }: Tuning, origin: TuningOrigin): string {
  const block = (rows: readonly (readonly (readonly number[])[])[]) =>
    `[\n${rows.map((row) => `   ${JSON.stringify(row)}`).join(',\n')}\n  ]`;
  const part = (pass: keyof typeof table) =>
    ` ${JSON.stringify(pass)}: {\n${algorithms.map((algorithm) => `  ${JSON.stringify(algorithm)}: ${block(table[pass][algorithm])}`).join(',\n')}\n }`;
  return (
    `{\n"origin": ${JSON.stringify(origin)},\n"tiles": ${JSON.stringify(tiles)},\n"channels": ${JSON.stringify(channels)},\n` +
    `"rates": {\n${passes.map(part).join(',\n')}\n}\n}`
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
