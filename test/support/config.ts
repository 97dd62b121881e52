// Configurations of tests: a preset with a few keys changed, named by dotted paths that tables of tests can merge.
import { loadConfig } from '../../src/run/config/index.ts';
import type { Config, ConfigOverrides } from '../../src/run/config/schema.ts';
import { merge, type Tree } from '../../src/run/config/tree.ts';

/** @param values by dotted path: { 'model.nf': 8 } */
export function configWith(preset: string, values: Record<string, unknown>): Promise<Config> {
  let overrides: Tree = {};
  for (const [path, value] of Object.entries(values)) {
    const nested = path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
    overrides = merge(overrides, nested as Tree);
  }
  return loadConfig(preset, overrides as ConfigOverrides);
}
