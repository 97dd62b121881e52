// The types of values that keys of the schema have. Each has one description, which messages, --help and docs/config.md share.
import { z } from 'zod';
import { nearestName } from '../../errors.ts';

/** Bound of step numbers and similar counts. Bounds are generous; larger values are typing errors or hostile files. */
export const MANY = 1e12;
/** Bound of image counts, which are int32. */
export const MOST_IMAGES = 2 ** 31 - 1;
export const LARGEST_IMAGE = 2 ** 14;
export const LARGEST_BATCH = 2 ** 20;
export const MOST_STEPS = 1e7;
/** Bound of real numbers, well within f32. */
export const LARGEST = 1e30;

/** A whole number within bounds. */
export function whole(least: number, most: number) {
  return z.int().min(least).max(most);
}

/** A number within bounds, both included. */
export function number(least: number, most: number) {
  return z.number().min(least).max(most);
}

/** A number above 0. */
export function positive(most: number) {
  return z.number().gt(0).max(most);
}

/** A number from 0 to below 1. */
export function rate() {
  return z.number().min(0).lt(1);
}

/** A list of numbers. */
export function list<Item extends z.ZodNumber>(item: Item, least: number, most: number) {
  return z.array(item).min(least).max(most);
}

interface Format {
  words: string;
  suggest?: (text: string) => string | undefined;
}

const formats = new WeakMap<RegExp, Format>();

/** Text of a certain form. @param words describe it @param suggest what a wrong text probably means */
export function textLike(pattern: RegExp, words: string, suggest?: Format['suggest']) {
  formats.set(pattern, { words, suggest });
  return z.string().regex(pattern);
}

function formatOf(type: z.ZodType): Format | undefined {
  const pattern = checksOf(type).find((check) => 'pattern' in check)?.pattern as RegExp | undefined;
  return pattern && formats.get(pattern);
}

/** The value of this type that a wrong text probably means; undefined if none is near. */
export function suggestValue(type: z.ZodType, text: string): string | undefined {
  return formatOf(type)?.suggest?.(text) ?? nearestName(text, choicesOf(type));
}

/** The words that a value of this type may be; empty for a type that is not a choice. */
function choicesOf(type: z.ZodType): string[] {
  if (type instanceof z.ZodUnion) return (type.options as z.ZodType[]).flatMap(choicesOf);
  return type instanceof z.ZodEnum && type.options.length > 1 ? type.options.map(String) : [];
}

/** What a value of this type may be, such as "a whole number from 1 to 8". */
export function describeType(type: z.ZodType): string {
  if (type instanceof z.ZodBoolean) return 'true or false';
  if (type instanceof z.ZodLiteral) return String(type.value);
  if (type instanceof z.ZodEnum)
    return type.options.length === 1 ? String(type.options[0]) : `one of ${type.options.join(', ')}`;
  if (type instanceof z.ZodUnion) return (type.options as z.ZodType[]).map(describeType).join(', or ');
  if (type instanceof z.ZodNumber) return describeNumber(type, 'number');
  if (type instanceof z.ZodArray) {
    const { minimum: least, maximum: most } = boundsOf(type);
    const [, plural] = describeNumber(type.element as z.ZodNumber, 'numbers').split(/^(?:a )?/);
    return `a list of ${least} to ${most} ${plural}`;
  }
  if (type instanceof z.ZodObject) return 'a table of keys';
  return formatOf(type)?.words ?? 'text';
}

function describeNumber(type: z.ZodNumber, noun: string): string {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = boundsOf(type);
  const kind = `a ${type.isInt ? 'whole ' : ''}${noun}`;
  if (exclusiveMinimum !== undefined)
    return `${kind} above ${exclusiveMinimum}, ${maximum === undefined ? `below ${exclusiveMaximum}` : `at most ${maximum}`}`;
  if (exclusiveMaximum !== undefined) return `${kind} from ${minimum} to below ${exclusiveMaximum}`;
  return `${kind} from ${minimum} to ${maximum}`;
}

type Bounds = Partial<Record<'minimum' | 'maximum' | 'exclusiveMinimum' | 'exclusiveMaximum', number>>;

/** The bounds that the checks of a type state. */
function boundsOf(type: z.ZodType): Bounds {
  return Object.assign(
    {},
    ...checksOf(type).map(({ check, value, inclusive, minimum, maximum }): Bounds => {
      if (check === 'greater_than')
        return inclusive ? { minimum: value as number } : { exclusiveMinimum: value as number };
      if (check === 'less_than')
        return inclusive ? { maximum: value as number } : { exclusiveMaximum: value as number };
      if (check === 'min_length') return { minimum: minimum as number };
      return check === 'max_length' ? { maximum: maximum as number } : {};
    }),
  );
}

function checksOf(type: z.ZodType): Record<string, unknown>[] {
  return (type.def.checks ?? []).map((check) => check._zod.def as unknown as Record<string, unknown>);
}
