// Options of ops whose windows move over images: kernel, stride and padding.
import { copyOfList, either, isWhole, kinds, listOf } from '../../arguments.ts';
import { ValueError } from '../../errors.ts';

/** Limit on padding and strides: larger ones are mistakes, and kernels count pixels in int32. */
export const LARGEST = 2 ** 28;

/** One number or [vertical, horizontal]. */
export type Extent = number | readonly [number, number];

/** The kind of an option that holds an Extent. */
export const extentKind = either(kinds.number, listOf(kinds.number, 'numbers', 2));

/** Both directions of an Extent. @throws ValueError unless they are whole numbers from `least` to 2^28 */
export function extents(op: string, what: string, value: Extent, least: number): [number, number] {
  const [vertical, horizontal] = typeof value === 'number' ? [value, value] : (copyOfList(value) as number[]);
  if (![vertical, horizontal].every((v) => isWhole(v, least, LARGEST)))
    throw new ValueError(
      `[${op}] expected a ${what} of whole numbers >= ${least} and <= 2^28, got ${vertical} and ${horizontal}`,
    );
  return [vertical, horizontal];
}
