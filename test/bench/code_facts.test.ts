// What is read from the text of cuobjdump: loops and the instructions of their longest path, widths, waits, divisions. The text here is
// short; test/device/nvrtc.test.ts does the same with real kernels.
import { expect, test } from 'vitest';
import { codeFacts } from '../../bench/code_facts.ts';

/** Text as cuobjdump prints it, 16 bytes per instruction. */
function listing(kernel: string, code: readonly string[]): string {
  const lines = code.map((text, i) => {
    const address = (16 * i).toString(16).padStart(4, '0');
    return `        /*${address}*/                   ${text} ;     /* 0x000000ff00007b82 */\n${' '.repeat(60)}/* 0x000ff00000000800 */`;
  });
  return `\n\t\tFunction : ${kernel}\n\t.headerflags\t@"EF_CUDA_SM90"\n${lines.join('\n')}\n\t\t..........\n`;
}

test('finds a loop, the longest path through it, and what it loads at once', () => {
  const text = listing('sum', [
    'MOV R1, c[0x0][0x28]', // 0x00
    'LDG.E.128 R4, desc[UR4][R2.64]', // 0x10: the loop
    'LDG.E.U16 R8, desc[UR4][R2.64+0x10]', // 0x20
    '@P0 BRA 0x60', // 0x30
    'FADD R9, R4, R8', // 0x40
    'FADD R9, R9, R5', // 0x50
    'STG.E.64 desc[UR4][R2.64], R4', // 0x60
    '@P1 BRA 0x10', // 0x70
    'EXIT', // 0x80
    'BRA 0x90', // 0x90
  ]);
  const { sum } = codeFacts(text);
  expect(sum).toMatchObject({ instructions: 2, local: 0, registers: 10 });
  expect(sum.loops).toEqual([
    {
      ...{ instructions: 7, parent: -1, divisions: 0, products: 0 },
      ...{ loads: { 2: 1, 16: 1 }, stores: { 8: 1 }, waits: { 16: 1 } },
    },
  ]);
});

test('tells serial loads from loads at once', () => {
  const serial = ['LDG.E R4, desc[UR4][R2.64]', 'FADD R0, R0, R4', 'LDG.E R5, desc[UR4][R2.64]', 'FADD R0, R0, R5'];
  const once = [serial[0], serial[2], serial[1], serial[3]];
  const waits = (code: string[]) => codeFacts(listing('k', [...code, 'EXIT'])).k.waits;
  expect(waits(serial)).toEqual({ 4: 2 });
  expect(waits(once)).toEqual({ 4: 1 });
});

test('counts divisions in the loop that makes them, without the subroutine for odd operands', () => {
  const { k } = codeFacts(
    listing('k', [
      'I2F.U32.RP R5, R7', // 0x00: an integer division
      'MUFU.RCP R5, R5', // 0x10
      'FCHK P0, R1, R2', // 0x20: the loop, a float division
      '@!P0 BRA 0x60', // 0x30
      'MOV R10, 0x60', // 0x40
      'CALL.REL.NOINC 0x90', // 0x50
      '@P1 BRA 0x20', // 0x60
      'STL [R1], R4', // 0x70
      'EXIT', // 0x80
      'RET.REL.NODEC R10 0x0', // 0x90
    ]),
  );
  expect(k).toMatchObject({ divisions: 1, local: 1 });
  expect(k.loops).toHaveLength(1);
  expect(k.loops[0]).toMatchObject({ divisions: 1, instructions: 3 });
});

test('knows the path without optional operands, and the registers after setmaxnreg', () => {
  const { k } = codeFacts(
    listing('k', [
      'USETMAXREG.TRY_ALLOC.CTAPOOL 0xe8', // 0x00
      'HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4]', // 0x10: the loop
      '@!P0 BRA 0x50', // 0x20
      'LDGSTS.E.BYPASS.128 [R8], desc[UR4][R2.64]', // 0x30
      'FADD R170, R8, R9', // 0x40
      'STG.E.64 desc[UR4][R2.64], R8', // 0x50
      '@P1 BRA 0x10', // 0x60
      'EXIT', // 0x70
    ]),
  );
  expect(k.loops[0]).toMatchObject({ instructions: 6, plain: 4, products: 1 });
  expect(k.limits).toEqual([{ limit: 232, used: 171 }]);
});

test('counts waits for asynchronous copies by groups, but not for those that began before products of warpgroups', () => {
  const copy = 'LDGSTS.E.BYPASS.128 [R8], desc[UR4][R2.64]';
  const group = 'LDGDEPBAR';
  const wait = (pending: number) => `DEPBAR.LE SB0, 0x${pending}`;
  const of = (...code: string[]) => codeFacts(listing('k', [...code, 'EXIT'])).k;
  expect(of(copy, group, wait(0), copy, group, wait(0))).toMatchObject({ copies: 2, copyWaits: 2 });
  expect(of(copy, group, copy, group, wait(1), wait(0))).toMatchObject({ copies: 2, copyWaits: 2 });
  expect(of(copy, copy, group, group, wait(1), wait(0))).toMatchObject({ copies: 2, copyWaits: 1 });
  expect(of(copy, group, 'HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4]', wait(0))).toMatchObject({ copyWaits: 0 });
  expect(of('FADD R0, R0, R4')).not.toHaveProperty('copies');
});
