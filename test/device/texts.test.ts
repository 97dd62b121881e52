// The package contains C and CUDA sources without comments, on the lines of the files.
import { expect, it } from 'vitest';
import { withoutComments } from '../../src/device/texts.ts';

it('comments and indentation of a source go, and its lines and strings stay', () => {
  const text = 'int a; // one\n/* two\n   three */ int b;\n  char *s = "/* \\" //", c = \'"\'; /* four */\nint/**/d;\n';
  expect(withoutComments('kernels/x.cuh', text)).toBe('int a;\n\nint b;\nchar *s = "/* \\" //", c = \'"\';\nint d;\n');
});

it('a second time changes nothing', () => {
  const once = withoutComments('x.c', '  a /* b */ c // d\n\n  e');
  expect(withoutComments('x.c', once)).toBe(once);
});

it('other texts stay as they are', () => {
  expect(withoutComments('device/wasm_worker.cjs', '  // x')).toBe('  // x');
});
