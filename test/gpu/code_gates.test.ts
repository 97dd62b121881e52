// The machine code of the step's hot kernels, as recorded in bench/results/kernels-static.json; test/device/nvrtc.test.ts compares the
// record with what NVRTC makes. The kernels of d1dfdc6 have the faults that the gates look for.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { CodeFacts } from '../../bench/code_facts.ts';
import { faultsOf } from '../../bench/code_gates.ts';
import { staticFacts } from '../../bench/gpu/machine_code.ts';
import { perElement } from '../../bench/gpu/norm_work.ts';

const kernels = Object.entries(staticFacts().code).flatMap(([module, code]) =>
  Object.entries(code).map(([name, facts]) => ({ module, name, facts })),
);
const earlier: Record<string, Record<string, CodeFacts>> = JSON.parse(
  readFileSync(new URL('../fixtures/gpu/machine_code_d1dfdc6.json', import.meta.url), 'utf8'),
);

test.each(kernels)('$name of $module', ({ name, facts }) => {
  expect(faultsOf(name, facts)).toEqual([]);
});

test('the gates refuse norms that load 2 bytes at a time and divide in their loops', () => {
  const { group_norm_forward, group_norm_backward } = earlier['group_norm.bf16'];
  for (const facts of [group_norm_forward, group_norm_backward])
    expect(faultsOf('group_norm_forward', facts)).toEqual([
      'loads or stores of 2 bytes',
      'divisions in loops over pixels',
    ]);
});

test('the gates refuse norms that execute more instructions per element, or whose loops are not known', () => {
  const name = 'group_norm_slices_forward_masked';
  const facts = staticFacts().code['inner/group_norm_slices.bf16'][name];
  const slower = facts.loops.map((loop) => ({ ...loop, instructions: loop.instructions + 80 }));
  expect(faultsOf(name, { ...facts, loops: slower })).toContainEqual(
    expect.stringMatching(/instructions per element instead of 26/),
  );
  expect(() => faultsOf(name, { ...facts, loops: facts.loops.slice(1) })).toThrow(/loops instead of/);
});

test('the gates refuse local memory, and registers beyond what setmaxnreg leaves', () => {
  const { facts } = kernels.find(({ name }) => name === 'conv_hopper_forward') as (typeof kernels)[number];
  expect(facts.limits.map(({ limit }) => limit).sort()).toEqual([232, 40]);
  const worse = { ...facts, local: 2, limits: [{ limit: 40, used: 41 }] };
  expect(faultsOf('conv_hopper_forward', worse)).toEqual([
    '2 accesses to local memory',
    '41 registers where 40 are left',
  ]);
});

test('the gates refuse loads that are waited for one by one where sums are written', () => {
  expect(faultsOf('conv_hopper_forward', earlier['conv/hopper.256x128'].conv_hopper_forward)).toEqual([
    'loads one after the other where sums are written',
    'divisions in inner loops',
  ]);
});

test('forward with dropout executes at most 30 instructions per element, backward 45, joined gradients included', () => {
  const code = staticFacts().code['inner/group_norm_slices.bf16'];
  const counts = (name: string, joined: number) => perElement(name, code[name], joined);
  expect(counts('group_norm_slices_forward_masked', 0)).toBeLessThanOrEqual(30);
  for (const joined of [0, 1, 2]) expect(counts('group_norm_slices_backward_masked', joined)).toBeLessThanOrEqual(45);
});
