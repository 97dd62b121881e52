// What `pairs` says of conditions: their table, and how often its entries occur.
import type { PairFinding } from './check.ts';
import type { PairFolder } from './folder.ts';
import type { PairCondition } from './manifest.ts';

const LISTED_ENTRIES = 3;

/** How often the entries of each table of conditions occur. */
export function conditionFindings(folders: readonly PairFolder[]): PairFinding[] {
  const tables = new Map<string, { condition: PairCondition; counts: number[] }>();
  let without = 0;
  for (const { manifest, column, count } of folders) {
    const condition = manifest?.condition;
    if (!condition || !column) {
      without += count;
      continue;
    }
    const name = JSON.stringify([condition.kind, condition.table]);
    const { counts } = tables.get(name) ?? { counts: new Array<number>(condition.table.length).fill(0) };
    for (const place of column) counts[place]++;
    tables.set(name, { condition, counts });
  }
  if (tables.size === 0) return [];
  const remarks = [
    ...(tables.size > 1 ? [`the folders have ${tables.size} different tables, and training needs one`] : []),
    ...(without > 0 ? [`${numberText(without)} pairs have no condition`] : []),
  ];
  return [...tables.values()].map(({ condition: { kind, table }, counts }) => {
    const named = (places: number[]) => list(places.map((place) => JSON.stringify(table[place])));
    const unused = counts.flatMap((count, place) => (count === 0 ? [place] : []));
    const range = `${numberText(counts.reduce((a, b) => Math.min(a, b)))} to ${numberText(counts.reduce((a, b) => Math.max(a, b)))}`;
    const first = table.slice(0, LISTED_ENTRIES).map((entry) => JSON.stringify(entry));
    const detail = [
      `${numberText(table.length)} ${kind}s (${first.join(', ')}${table.length > LISTED_ENTRIES ? ', ...' : ''}), each of ${range} pairs`,
      ...(unused.length > 0 ? [`no pair has ${named(unused)}`] : []),
      ...remarks,
    ];
    const state = remarks.length > 0 ? 'broken' : unused.length > 0 ? 'note' : 'ok';
    return { what: 'conditions', state, detail: detail.join('; ') };
  });
}

/** "a text each, of 11" */
export function tableText({ kind, table }: PairCondition): string {
  return `a ${kind} each, of ${numberText(table.length)}`;
}

function numberText(value: number): string {
  return value.toLocaleString('en-US');
}

function list(items: readonly string[]): string {
  return `${items.slice(0, LISTED_ENTRIES).join(', ')}${items.length > LISTED_ENTRIES ? `, ... ${items.length} in total` : ''}`;
}
