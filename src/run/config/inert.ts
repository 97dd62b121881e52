// Keys that have no effect with certain values of other keys. They are validated and kept; setting one by hand causes a
// notice.
import { checkArgument } from '../../arguments.ts';
import { pathList } from './official_flags.ts';
import { requireConfig } from './require.ts';
import { keyProperties, valueAt } from './tree.ts';
import type { Config } from './types.ts';

/** One line for each of these keys that has no effect in a configuration: "sampling.ode_tol has no effect with ...". */
export function describeInertKeys(config: Config, keys: readonly string[]): string[] {
  requireConfig('describeInertKeys', config);
  checkArgument('describeInertKeys', 'keys', keys, pathList);
  return keys.flatMap((key) => {
    const setting = settingWithout(config, key);
    return setting === undefined ? [] : [`${key} has no effect with ${setting}`];
  });
}

/** The setting because of which a key has no effect, as "key value"; undefined if it has an effect. */
export function settingWithout(config: Config, key: string): string | undefined {
  const needs = keyProperties(key)?.needs;
  if (needs === undefined) return undefined;
  const value = valueAt(config, needs.key);
  return needs.met(value as never, valueAt(config, key)) ? undefined : `${needs.key} ${value}`;
}
