// docs/features.md is what scripts/features.js makes of its rows, names functions that exist, and forgets no public function.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import * as data from '../../src/data/index.ts';
import * as engine from '../../src/index.ts';
import * as io from '../../src/io/index.ts';
import * as nn from '../../src/nn/index.ts';
import * as run from '../../src/run/index.ts';
import * as testing from '../../src/testing/index.ts';

const entries: Record<string, object> = {
  rectiflow: engine,
  'rectiflow/data': data,
  'rectiflow/io': io,
  'rectiflow/nn': nn,
  'rectiflow/run': run,
  'rectiflow/testing': testing,
};
interface Row {
  what: string;
  ours: string;
  from?: string;
  note?: string;
  others: string;
}

const script = (name: string) => import(new URL(`../../scripts/${name}`, import.meta.url).href);
const { featuresPage } = await script('features.js');
const { groups }: { groups: Record<string, Row[]> } = await script('features_data.js');
const rows = Object.values(groups).flat();
const namesOf = (ours: string) => ours.split(' ').filter(Boolean);

it('the page is what scripts/features.js prints', () => {
  expect(readFileSync(new URL('../../docs/features.md', import.meta.url), 'utf8')).toBe(featuresPage());
});

it('every row names exports of its entry point, or gives a reason', () => {
  for (const { what, ours, from = 'rectiflow', note } of rows) {
    expect(ours === '', what).toBe(note !== undefined);
    for (const name of namesOf(ours)) expect(entries[from], `${what}: ${from} exports ${name}`).toHaveProperty(name);
  }
});

it('every row marks the three others', () => {
  for (const { what, others } of rows) expect(others, what).toMatch(/^[Y~-] [Y~-] [Y~-]$/);
});

it('every function that rectiflow exports is in one row', () => {
  const listed = rows.filter(({ from }) => from === undefined).flatMap(({ ours }) => namesOf(ours));
  // The exported classes are Tensor and the errors.
  const functions = Object.entries(engine).filter(([, value]) => !/^class\b/.test(String(value)));
  expect(listed.sort()).toEqual(functions.map(([name]) => name).sort());
});
