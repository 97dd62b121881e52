/** Configurations for tests: a preset with a few keys changed, as by the command line. */
import { applyOverrides, type Config, loadConfig } from '../../src/run/index.ts';

/** @param values by dotted path: { 'model.nf': 8 } */
export async function configWith(preset: string, values: Record<string, unknown>): Promise<Config> {
  const overrides = Object.entries(values).map(([path, value]) => ({ path: path.split('.'), text: String(value) }));
  return applyOverrides(await loadConfig(preset), overrides);
}
