// A table of measured rates of the convolution algorithms, and the check of every table, from the package or from a
// user. The check is written by hand, because zod would otherwise become part of every bundle.
import { describeValue, type Kind, kind } from '../../arguments.ts';
import { FileError, formatShape } from '../../errors.ts';

/** `winograd2`, `winograd4`: Winograd's minimal filtering with output tiles of 2 x 2 or 4 x 4 pixels. */
export const algorithms = ['direct', 'winograd2', 'winograd4'] as const;
export type Algorithm = (typeof algorithms)[number];

export const convPasses = ['forward', 'inputGradient', 'weightGradient'] as const;
export type ConvPass = (typeof convPasses)[number];

/** Rates on a grid of shapes, in GFLOP/s of the direct sum's operations. */
export interface Tuning {
  /** Numbers of 4 x 4 output tiles in a batch, ascending. */
  tiles: readonly number[];
  /** Numbers of channels, ascending, for input and output. */
  channels: readonly number[];
  /** [tiles][Cin][Cout] */
  rates: Readonly<Record<ConvPass, Readonly<Record<Algorithm, readonly (readonly (readonly number[])[])[]>>>>;
}

const MOST_STEPS = 64;

const axis = kind(
  `ascending numbers > 0, 1 to ${MOST_STEPS} of them`,
  (v) =>
    Array.isArray(v) &&
    v.length >= 1 &&
    v.length <= MOST_STEPS &&
    v.every((item, i) => Number.isFinite(item) && item > (i === 0 ? 0 : v[i - 1])),
);

/** An object with exactly these keys. */
function recordOf(keys: readonly string[]): Kind {
  return kind(
    `an object of ${keys.join(', ')}`,
    (v) =>
      typeof v === 'object' &&
      v !== null &&
      Object.keys(v).length === keys.length &&
      keys.every((key) => Object.hasOwn(v, key)),
  );
}

/** Describes what is wrong with a table; undefined if nothing is. Keys other than those of a Tuning are ignored. */
export function findTuningFault(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return `expected an object, got ${describeValue(value)}`;
  const { tiles, channels, rates } = value as Tuning;
  const parts: [name: string, value: unknown, kind: Kind][] = [
    ['tiles', tiles, axis],
    ['channels', channels, axis],
    ['rates', rates, recordOf(convPasses)],
    ...convPasses.map((pass): [string, unknown, Kind] => [`rates.${pass}`, rates?.[pass], recordOf(algorithms)]),
  ];
  const wrong = parts.find(([, part, { accepts }]) => !accepts(part));
  if (wrong) return `${wrong[0]}: expected ${wrong[2].expected}, got ${describeValue(wrong[1])}`;
  const shape = [tiles.length, channels.length, channels.length];
  for (const pass of convPasses)
    for (const algorithm of algorithms) {
      const fault = findRatesFault(rates[pass][algorithm], shape);
      if (fault !== undefined) return `rates.${pass}.${algorithm} ${fault}`;
    }
  return undefined;
}

function findRatesFault(value: unknown, shape: readonly number[]): string | undefined {
  if (!hasShape(value, shape)) return `does not have shape ${formatShape(shape)}`;
  const rates = value.flat(2);
  const wrong = rates.findIndex((rate) => !Number.isFinite(rate) || (rate as number) < 0);
  return wrong < 0 ? undefined : `holds ${describeValue(rates[wrong])}, which is not a rate`;
}

type NestedRates = readonly (readonly (readonly unknown[])[])[];

/** Whether lists are nested in that shape. A list may have holes, which `every` alone would skip. */
function hasShape(value: unknown, [length, ...inner]: readonly number[]): value is NestedRates {
  if (length === undefined) return !Array.isArray(value);
  return Array.isArray(value) && value.length === length && Array.from(value).every((item) => hasShape(item, inner));
}

/** The table in a file. @throws FileError naming what is wrong with it */
export function requireTuning(path: string, value: unknown): Tuning {
  const fault = findTuningFault(value);
  if (fault !== undefined) throw new FileError(path, `is not a table of \`rectiflow tune\`: ${fault}`);
  const { tiles, channels, rates } = value as Tuning;
  return { tiles, channels, rates };
}
