// The preset that a configuration comes from, as far as its values show: the one that differs in the fewest keys.
import { loadConfig, presetNames } from './index.ts';
import { type Difference, differences } from './tree.ts';
import type { Config } from './types.ts';

export interface NearestPreset {
  name: string;
  /** Keys whose values differ: `a` in the preset, `b` in the configuration. */
  differences: Difference[];
}

/** Finds the preset. Its name has no folder, as `--config` takes it. */
export async function nearestPreset(config: Config): Promise<NearestPreset> {
  let nearest: NearestPreset | undefined;
  for (const name of presetNames()) {
    const found = differences(await loadConfig(name), config);
    if (nearest && found.length >= nearest.differences.length) continue;
    nearest = { name: name.split('/').at(-1) as string, differences: found };
  }
  return nearest as NearestPreset;
}
