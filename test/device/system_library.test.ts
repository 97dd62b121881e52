// System libraries: their declarations are checked when a library is opened.
import { expect, it } from 'vitest';
import { openSystemLibrary } from '../../src/device/system_library.ts';

it('names an unknown kind or function in the declaration of a system library', () => {
  const files = ['libm.so.6', 'libm.dylib'];
  const library = { name: 'libm', purpose: 'a test', files, variable: 'LIBLAPACK_PATH', install: '-' } as const;
  const { hypot } = openSystemLibrary({ ...library, functions: { hypot: 'f64 f64 -> f64' } });
  expect(hypot(3, 4)).toBe(5);
  // @ts-expect-error the signature has two numbers
  expect(() => hypot(3)).toThrow('Expected 2 arguments');
  expect(() => openSystemLibrary({ ...library, name: 'a', functions: { no_such: 'f64' } })).toThrow('no_such');
  expect(() => openSystemLibrary({ ...library, name: 'b', functions: { hypot: 'f65' } })).toThrow('kind "f65"');
});
